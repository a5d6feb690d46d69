# SPDX-License-Identifier: Apache-2.0
"""What ocibridge costs compared with the floor: `make bench` (docs/design.md, Speed)."""
