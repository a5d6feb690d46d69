"""Bundles for tests, called as those of the captures; the stand-in reads how they behave out of their config.json."""

import json
from pathlib import Path
from typing import Any

PLUGINS: dict[str, Any] = {"logging": {"required": True, "data": {"sink": "devnull"}}}


def make_bundle(directory: Path, name: str, *, plugins: bool = True, **hints: str) -> Path:
    """A bundle of that name; `hints` become `standin.*` annotations: start, exit, term, fail, info."""
    bundle = directory / name
    (bundle / "rootfs").mkdir(parents=True)
    config: dict[str, Any] = {"ociVersion": "1.0.2", "process": {"args": ["sleep", "3600"]}, "root": {"path": "rootfs"}}
    config["annotations"] = {f"standin.{key}": value for key, value in hints.items()}
    if plugins:
        config["rdkPlugins"] = PLUGINS
    (bundle / "config.json").write_text(json.dumps(config))
    return bundle


def make_capture_bundles(directory: Path) -> None:
    """Those that the captures in this folder start."""
    make_bundle(directory, "sleep")
    make_bundle(directory, "missing-plugin")
    make_bundle(directory, "exits-at-once", exit="0 25")
    make_bundle(directory, "exits-after-2s", exit="768 1000")
    make_bundle(directory, "bad-init", fail="failing")
    (make_bundle(directory, "broken-json") / "config.json").write_text("{")
