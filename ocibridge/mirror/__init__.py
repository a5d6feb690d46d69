"""The copy of what Dobby has: observations in, events out."""
