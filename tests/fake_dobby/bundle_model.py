# SPDX-License-Identifier: Apache-2.0
"""What Dobby does with a bundle or spec: it reads, recovers, rewrites, refuses, or crashes.

Written from the observed behaviour of the real Dobby (docs/dobby.md, Starting a container;
docs/dobby.md, Starts that crash Dobby), and not from ocibridge's own rules, which are tested
against it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

EXTENDED, CONVERTED = "1.0.2-dobby", "1.0.2"
KNOWN_PLUGINS = {
    "logging",
    "networking",
    "storage",
    "ipc",
    "httpproxy",
    "appservicesrdk",
    "localtime",
    "rtscheduling",
    "thunder",
}
LAUNCHED_HOOKS = ("createRuntime", "createContainer", "poststart", "poststop")


class Crash(Exception):
    """Dobby dereferences a null pointer."""


class Refused(Exception):
    """Dobby answers -1. `late`: crun or a hook failed, not Dobby's own check."""

    def __init__(self, *, late: bool = False) -> None:
        super().__init__()
        self.late = late


def load_bundle(path: str, container_id: str, *, socket: bool, rewrites: bool) -> dict[str, Any]:
    """The config that Dobby starts. If Dobby converts it, it is written back.

    Raises Refused or Crash.
    """
    config = _parse(Path(path, "config.json"))
    if config is None and Path(path, "config.json").exists():
        config = _parse(Path(path, "config-dobby.json"))
    if config is None:
        raise Refused
    _check(config, socket=socket)
    converted = config.get("ociVersion") == CONVERTED and isinstance(config.get("rdkPlugins"), dict)
    if converted:
        _check_converted(config, path)
    elif config.get("ociVersion") == EXTENDED and rewrites:
        _convert(path, config, container_id)
    return config


def _parse(file: Path) -> dict[str, Any] | None:
    try:
        config = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) else None


def _check(config: dict[str, Any], *, socket: bool) -> None:
    """Follow the pointers that may be null."""
    if not isinstance(config.get("process"), dict):
        raise Crash
    if not isinstance(config.get("linux"), dict) or not config["linux"]:
        raise Crash
    if not isinstance(config["linux"].get("resources"), dict) or not config["linux"]["resources"]:
        raise Crash
    plugins = config.get("rdkPlugins")
    networking = plugins.get("networking") if isinstance(plugins, dict) else None
    if (
        isinstance(networking, dict)
        and networking.get("required") is True
        and networking.get("data") == {}
    ):
        raise Crash
    if socket and any("source" not in mount for mount in config.get("mounts") or []):
        raise Crash


def _check_converted(config: dict[str, Any], path: str) -> None:
    if not isinstance(config.get("hostname"), str):
        raise Crash
    for name in LAUNCHED_HOOKS:
        for hook in (config.get("hooks") or {}).get(name) or []:
            if not hook.get("args"):
                raise Crash
            if hook["args"][0] == "DobbyPluginLauncher" and hook["args"][4] != os.path.realpath(
                f"{path}/config.json"
            ):
                raise Refused(
                    late=True
                )  # the hook gets the path of another bundle's file, or of none


def _convert(path: str, config: dict[str, Any], container_id: str) -> None:
    """Rewrite the bundle on disk. A read-only bundle is refused."""
    written = config | {"ociVersion": CONVERTED, "hostname": container_id}
    plugins = config.get("rdkPlugins")
    if isinstance(plugins, dict):
        written["rdkPlugins"] = {
            name: data
            for name, data in plugins.items()
            if name in KNOWN_PLUGINS and isinstance(data, dict)
        }
        baked = os.path.realpath(f"{path}/config.json")
        hooks = {
            name: ["DobbyPluginLauncher", "-h", name, "-c", baked, "-vv"] for name in LAUNCHED_HOOKS
        }
        ours = {
            name: [{"path": "/usr/bin/DobbyPluginLauncher", "args": args}]
            for name, args in hooks.items()
        }
        written["hooks"] = (config.get("hooks") or {}) | ours
    try:
        Path(path, "config-dobby.json").write_text(json.dumps(config))
        draft = Path(path, ".config.json.new")
        draft.write_text(json.dumps(written))
        draft.replace(Path(path, "config.json"))
    except OSError:
        raise Refused(late=True) from None


def survives_info(config: dict[str, Any]) -> bool:
    """Whether GetInfo and the annotations find a table of plugins in the started config."""
    plugins = config.get("rdkPlugins")
    return isinstance(plugins, dict) and len(plugins) > 0


def load_spec(text: str) -> dict[str, Any]:
    """Parse the spec. Raises Refused."""
    try:
        spec = json.loads(text)
    except ValueError:
        raise Refused from None
    if not isinstance(spec, dict) or not {"version", "args", "memLimit"} <= spec.keys():
        raise Refused
    if (spec.get("user") or {}).get("uid") == 0:
        raise Refused  # "user.uid cannot be root (0)"
    return spec


def spec_survives_info(spec: dict[str, Any]) -> bool:
    """Whether the bundle that Dobby writes for the spec has a plugin."""
    return any(spec.get(name) for name in ("network", "console", "rdkPlugins", "plugins"))
