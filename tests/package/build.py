# SPDX-License-Identifier: Apache-2.0
"""Builds the Debian package like `make deb`."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build(*version: str) -> Path:
    """Of the version in the code, or of the given one."""
    built = subprocess.run(
        [ROOT / "tools" / "make-deb", *version], check=True, capture_output=True, text=True
    ).stdout
    return ROOT / built.strip()
