# SPDX-License-Identifier: Apache-2.0
"""Bundles for tests, with the names used in the captures.

`fake.*` annotations in config.json tell the fake Dobby how the container behaves.
"""

import json
from pathlib import Path
from typing import Any

PLUGINS: dict[str, Any] = {
    "logging": {"required": False, "dependsOn": [], "data": {"sink": "devnull"}}
}
# A Dobby spec with all that Dobby requires.
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


# The container is restarted when it crashes.
RESTARTING_SPEC = '{"version": "1.1", "args": ["x"], "memLimit": 1, "restartOnCrash": true}'


def complete_config() -> dict[str, Any]:
    """A config.json with all that the real Dobby requires. Callers may change it."""
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
    """Write a bundle. `hints` become `fake.*` annotations: start, exit, term, fail, info.

    `changes` replace members of its config.json; None removes a member.
    """
    bundle = directory / name
    (bundle / "rootfs").mkdir(parents=True)
    config = complete_config() | {
        "annotations": {f"fake.{key}": value for key, value in hints.items()}
    }
    if not plugins:
        del config["rdkPlugins"]
    config = {key: value for key, value in (config | (changes or {})).items() if value is not None}
    (bundle / "config.json").write_text(json.dumps(config))
    return bundle


def make_capture_bundles(directory: Path) -> None:
    """The bundles that the captures start."""
    make_bundle(directory, "sleep")
    make_bundle(directory, "missing-plugin")
    make_bundle(directory, "exits-at-once", exit="0 25")
    make_bundle(directory, "exits-after-2s", exit="768 1000")
    make_bundle(directory, "bad-init", fail="failing")
    (make_bundle(directory, "broken-json") / "config.json").write_text("{")
