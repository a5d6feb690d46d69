# SPDX-License-Identifier: Apache-2.0
"""Rules on what crashes Dobby or makes it refuse, by a bundle's config.json or a Dobby spec.

Plain functions on parsed JSON with the standard library only, so that other tools can use them.
Each rule was observed on Dobby 3.19.1 unless its comment says otherwise (docs/dobby.md, Starts that
crash Dobby; Calls that crash Dobby).
"""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, Final

Json = Mapping[str, Any]

# The members of a config.json, and of a spec, that the rules read.
CONFIG_MEMBERS: Final = (
    "ociVersion",
    "hostname",
    "process",
    "linux",
    "rdkPlugins",
    "hooks",
    "mounts",
)
SPEC_MEMBERS: Final = ("user", "network", "console", "plugins", "rdkPlugins")
# The ociVersion of a config.json that Dobby has rewritten at the bundle's first start.
CONVERTED: Final = "1.0.2"
# Dobby adds its plugin launcher to these hooks, and looks for the launcher in args[0].
LAUNCHED_HOOKS: Final = ("createRuntime", "createContainer", "poststart", "poststop")
LAUNCHER: Final = "DobbyPluginLauncher"


def crash_at_start(config: Json, *, with_socket: bool) -> str | None:
    """Why Dobby would crash when it starts a bundle with that config.json, naming the member.

    None if it would not. `with_socket`: the start has a westerosSocket.
    """
    return (
        _missing_part(config)
        or _bad_networking(config)
        or (_mount_without_source(config) if with_socket else None)
        or (_bad_conversion(config) if is_converted(config) else None)
    )


def has_plugins(config: Json) -> bool:
    """Whether GetInfo and annotations of a container with that config.json are safe for Dobby.

    `rdkPlugins` needs at least one member, and only objects: Dobby drops other members when it
    rewrites the file, so its second start would have fewer.
    """
    return _are_plugins(config.get("rdkPlugins"))


def spec_has_plugins(spec: Json) -> bool:
    """The same for a Dobby spec. Each of these members becomes a plugin in Dobby's bundle."""
    plugins = spec.get("rdkPlugins")
    if plugins and not _are_plugins(plugins):
        return False
    return bool(plugins) or any(bool(spec.get(name)) for name in ("network", "console", "plugins"))


def refusal_of_bundle(config: Json, path: str) -> str | None:
    """Why Dobby refuses to start the bundle at `path`; None if config.json shows no reason."""
    for hook in _hooks(config) if is_converted(config) else ():
        arguments = hook.get("args")
        if (
            not isinstance(arguments, list)
            or arguments[:1] != [LAUNCHER]
            or "-c" not in arguments[:-1]
        ):
            continue
        written = arguments[arguments.index("-c") + 1]
        if isinstance(written, str) and posixpath.normpath(written) != posixpath.normpath(
            f"{path}/config.json"
        ):
            return (
                "the bundle was moved or copied after its first start, when Dobby wrote the old "
                "path into its config.json (restore config.json from config-dobby.json, the "
                "original)"
            )
    return None


def refusal_of_spec(spec: Json) -> str | None:
    """Why Dobby refuses to start that spec; None if the spec shows no reason."""
    user = spec.get("user")
    uid = user.get("uid") if isinstance(user, Mapping) else None
    if uid == 0 and not isinstance(uid, bool):
        return "its user.uid is 0, and Dobby starts no specs as root"
    return None


def is_converted(config: Json) -> bool:
    """Whether Dobby regards it as rewritten by itself."""
    return config.get("ociVersion") == CONVERTED and isinstance(config.get("rdkPlugins"), Mapping)


def _missing_part(config: Json) -> str | None:
    linux = config.get("linux")
    if not isinstance(config.get("process"), Mapping):
        return _lacks(config, "process", "an object")
    if not isinstance(linux, Mapping) or not linux:
        return _lacks(config, "linux", "an object with the member resources")
    if not isinstance(linux.get("resources"), Mapping) or not linux["resources"]:
        return _lacks(linux, "resources", "an object with at least one member", "linux.")
    return None


def _bad_networking(config: Json) -> str | None:
    plugins = config.get("rdkPlugins")
    networking = plugins.get("networking") if isinstance(plugins, Mapping) else None
    if (
        isinstance(networking, Mapping)
        and networking.get("required") is True
        and networking.get("data") == {}
    ):
        return "rdkPlugins.networking.data is empty, and networking is required"
    return None


def _mount_without_source(config: Json) -> str | None:
    """Inferred from Dobby's source, which compares the sources of all mounts with the socket's."""
    mounts = config.get("mounts")
    for number, mount in enumerate(mounts if isinstance(mounts, list) else ()):
        if isinstance(mount, Mapping) and not isinstance(mount.get("source"), str):
            return (
                f"mounts[{number}].source {_state(mount, 'source')}, and a westerosSocket is given"
            )
    return None


def _bad_conversion(config: Json) -> str | None:
    if not isinstance(config.get("hostname"), str):
        return (
            f"hostname {_state(config, 'hostname')}, "
            f"but rdkPlugins and ociVersion {CONVERTED} are present"
        )
    for hook in _hooks(config):
        if not isinstance(hook.get("args"), list) or not hook["args"]:
            return (
                f"hooks: one of {', '.join(LAUNCHED_HOOKS)} has no args, "
                f"but rdkPlugins and ociVersion {CONVERTED} are present"
            )
    return None


def _hooks(config: Json) -> Iterator[Json]:
    hooks = config.get("hooks")
    if not isinstance(hooks, Mapping):
        return
    for name in LAUNCHED_HOOKS:
        entries = hooks.get(name)
        for hook in entries if isinstance(entries, list) else ():
            if isinstance(hook, Mapping):
                yield hook


def _are_plugins(plugins: object) -> bool:
    return (
        isinstance(plugins, Mapping)
        and bool(plugins)
        and all(isinstance(data, Mapping) for data in plugins.values())
    )


def _lacks(owner: Json, name: str, needed: str, prefix: str = "") -> str:
    return f"{prefix}{name} {_state(owner, name)}: it must be {needed}"


def _state(owner: Json, name: str) -> str:
    if name not in owner:
        return "is missing"
    value = owner[name]
    if value is None:
        return "is null"
    return "is empty" if value in ({}, [], "") else "is of the wrong type"
