"""python-sdbus behind an interface of our own: the one place that imports it."""
