"""The configuration: its keys, its files, and how it is reloaded."""
