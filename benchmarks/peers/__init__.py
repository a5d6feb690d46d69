"""Bare forwarders: what a library costs by itself, without any of what ocibridge adds."""
