"""The configuration: its keys, its files, and reading it anew."""
