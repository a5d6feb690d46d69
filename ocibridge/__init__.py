"""ocibridge: the RDK OCIContainer plugin's interface, on D-Bus."""

__version__ = "0.1.0"
