"""What ocibridge costs beside the floor: `make bench` (design 14)."""
