# SPDX-License-Identifier: Apache-2.0
"""Finds and merges the configuration files (UAPI.6; docs/design.md, Configuration)."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from ocibridge.config.schema import Config, ConfigError, checked, mapping_of
from ocibridge.files import read_regular

# The administrator's, the volatile one and the vendor's, in order of precedence.
FOLDERS: Final = tuple(Path(f"{root}/ocibridge") for root in ("/etc", "/run", "/usr/lib"))
MAX_FILE_BYTES: Final = 1 << 20


def find(folders: Sequence[Path] = FOLDERS) -> list[Path]:
    """The files to load: the first main file, then all drop-ins by name; later ones override.

    A drop-in hides those of the same name in later folders, so an empty one, or a link to
    /dev/null, disables them. Raises ConfigError if a folder cannot be read.
    """
    try:
        main = [file for folder in folders if (file := folder / "ocibridge.yaml").exists()][:1]
        drop_ins = {
            file.name: file
            for folder in reversed(folders)
            for file in _drop_ins(folder / "ocibridge.yaml.d")
        }
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from None
    return main + [drop_ins[name] for name in sorted(drop_ins)]


def load(files: Iterable[Path]) -> Config:
    """The files merged over the defaults. Raises ConfigError, which names the file and the key."""
    merged: dict[str, Any] = {}
    read: list[str] = []
    for file in files:
        merged = _overlaid(merged, mapping_of(_text_of(file), str(file)))
        read.append(str(file))
    # Values of different files may contradict each other, so check the result as well.
    return checked(merged, ", ".join(read))


def _drop_ins(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [file for file in folder.iterdir() if file.suffix == ".yaml" and file.name[0] != "."]


def _overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`; sections are merged key by key."""
    sections = {
        key: _overlaid(below.get(key, {}), value)
        for key, value in above.items()
        if isinstance(value, dict)
    }
    return below | above | sections


def _text_of(file: Path) -> str:
    try:
        return "" if file.samefile(os.devnull) else read_regular(file, MAX_FILE_BYTES).decode()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
