"""The callers' side: signatures, conversions, and the boundary that every call passes."""
