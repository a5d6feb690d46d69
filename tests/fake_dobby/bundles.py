"""Bundles for tests, called as those of the captures; the stand-in reads how they behave out of their config.json."""

import json
from pathlib import Path
from typing import Any

PLUGINS: dict[str, Any] = {
    "logging": {"required": False, "dependsOn": [], "data": {"sink": "devnull"}}
}
# A Dobby spec that has all that Dobby asks for.
SPEC: dict[str, Any] = {
    "version": "1.0",
    "cwd": "/",
    "args": ["sleep", "3600"],
    "env": [],
    "user": {"uid": 1000, "gid": 1000},
    "console": {"limit": 65536, "path": "/var/log/container.log"},
    "memLimit": 41943040,
    "network": "nat",
    "mounts": [],
}  # fmt: skip


def complete_config() -> dict[str, Any]:
    """A config.json with all without which the real Dobby dies or refuses; to be changed at will."""
    return {
        "ociVersion": "1.0.2-dobby",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["sleep", "3600"], "cwd": "/"},
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "dobby",
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": "pid"}, {"type": "mount"}],
        },
        "rdkPlugins": PLUGINS,
    }


def make_bundle(
    directory: Path,
    name: str,
    *,
    plugins: bool = True,
    changes: dict[str, Any] | None = None,
    **hints: str,
) -> Path:
    """A bundle of that name; `hints` become `standin.*` annotations: start, exit, term, fail, info.

    `changes` replace members of its config.json; None takes a member away.
    """
    bundle = directory / name
    (bundle / "rootfs").mkdir(parents=True)
    config = complete_config() | {
        "annotations": {f"standin.{key}": value for key, value in hints.items()}
    }
    if not plugins:
        del config["rdkPlugins"]
    config = {key: value for key, value in (config | (changes or {})).items() if value is not None}
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
