"""The copy of Dobby's state: observations in, events out."""
