"""What ocibridge costs compared with the floor: `make bench` (docs/design.md, Speed)."""
