"""Builds the Debian package as `make deb` does."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build(*version: str) -> Path:
    """Of the version of the code, or of the one that is given."""
    built = subprocess.run(
        [ROOT / "tools" / "make-deb", *version], check=True, capture_output=True, text=True
    ).stdout
    return ROOT / built.strip()
