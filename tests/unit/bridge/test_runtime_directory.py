# SPDX-License-Identifier: Apache-2.0
"""The runtime directory when systemd provides none."""

import os
from pathlib import Path

import pytest

from ocibridge.bridge.provenance_store import runtime_directory


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("", "/run/user/1234"),
        ("run", "/run/user/1234"),
        ("./x", "/run/user/1234"),
        ("/home/x", "/home/x"),
    ],
)
def test_an_empty_or_relative_xdg_runtime_dir_is_ignored(
    monkeypatch: pytest.MonkeyPatch, given: str, used: str
) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    monkeypatch.setenv("XDG_RUNTIME_DIR", given)
    assert runtime_directory() == Path(used, "ocibridge", "memory")
