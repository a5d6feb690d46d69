"""Bare forwarders, which show the cost of a library without that of ocibridge."""
