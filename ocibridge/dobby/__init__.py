"""Dobby's side: its wire, its quirks, its life. Nothing of them gets out of here."""
