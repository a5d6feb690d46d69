# SPDX-License-Identifier: Apache-2.0
"""The methods in JSON: the parameters and the result of each (docs/design.md, JSON-RPC).

A parameter is declared once, with its name, its type, and whether it is optional. JSON null means
"not given". Unknown members are ignored, as Thunder does.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw

from ocibridge.bridge.info import Info
from ocibridge.model import SubState


class Params(msgspec.Struct):
    """The `params` of a request."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the operation's arguments in errors and in the journal."""
        return cls.__struct_fields__

    def arguments(self) -> tuple[Any, ...]:
        """The operation's arguments; those not given are "", false or empty."""
        return msgspec.structs.astuple(self)


class Nothing(Params):
    """No parameters."""


class OfContainer(Params):
    """Methods that take only a container."""

    containerId: str


class Start(Params):
    """startContainer."""

    containerId: str
    bundlePath: str
    command: str | None = None
    westerosSocket: str | None = None
    envvar: list[str] | None = None

    def arguments(self) -> tuple[Any, ...]:
        """See `Params`."""
        return (
            self.containerId,
            self.bundlePath,
            self.command or "",
            self.westerosSocket or "",
            self.envvar or [],
        )


class StartFromSpec(Params):
    """startContainerFromDobbySpec: the spec as an object, as text, or as the path of its file."""

    containerId: str
    dobbySpec: str | dict[str, Raw]
    command: str | None = None
    westerosSocket: str | None = None

    def arguments(self) -> tuple[Any, ...]:
        """See `Params`. The spec's members are passed on unchanged."""
        spec = (
            self.dobbySpec
            if isinstance(self.dobbySpec, str)
            else msgspec.json.encode(self.dobbySpec).decode()
        )
        return self.containerId, spec, self.command or "", self.westerosSocket or ""


class Stop(Params):
    """stopContainer."""

    containerId: str
    force: bool | None = None

    def arguments(self) -> tuple[Any, ...]:
        """See `Params`."""
        return self.containerId, bool(self.force)


class Exec(Params, kw_only=True):
    """execCommand, executeCommand."""

    containerId: str
    options: str | None = None
    command: str

    def arguments(self) -> tuple[Any, ...]:
        """See `Params`."""
        return self.containerId, self.options or "", self.command


class Hibernate(Params):
    """hibernateContainer."""

    containerId: str
    options: str | None = None

    def arguments(self) -> tuple[Any, ...]:
        """See `Params`."""
        return self.containerId, self.options or ""


class Annotate(Params):
    """annotate."""

    containerId: str
    key: str
    value: str


class RemoveAnnotation(Params):
    """removeAnnotation."""

    containerId: str
    key: str


class Mount(Params):
    """mount. `type` is ignored, as by the plugin; `options` are flags, separated by commas."""

    containerId: str
    source: str
    target: str
    type: str | None = None
    options: str | None = None

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """See `Params`."""
        return "containerId", "source", "target", "options", "data"

    def arguments(self) -> tuple[Any, ...]:
        """See `Params`."""
        return (
            self.containerId,
            self.source,
            self.target,
            [flag for flag in (self.options or "").split(",") if flag],
            "",
        )


class Unmount(Params):
    """unmount."""

    containerId: str
    target: str


def _containers(found: list[tuple[int, str]]) -> dict[str, Any]:
    return {
        "containers": [
            {"Descriptor": descriptor, "Id": container_id} for descriptor, container_id in found
        ]
    }


def _state(found: tuple[str, SubState]) -> dict[str, Any]:
    return {"containerId": found[0], "state": found[1].state}


def _info(info: Info) -> dict[str, Any]:
    return {"info": Raw(info.json(lambda substate: substate.state))}


def _descriptor(descriptor: int) -> dict[str, Any]:
    return {"descriptor": descriptor}


def _nothing(_: None) -> dict[str, Any]:
    return {}


# For each method: its parameters, and the converter of its result (without `success`).
METHODS: Final[dict[str, tuple[type[Params], Callable[[Any], dict[str, Any]]]]] = {
    "listContainers": (Nothing, _containers),
    "getContainerState": (OfContainer, _state),
    "getContainerInfo": (OfContainer, _info),
    "startContainer": (Start, _descriptor),
    "startContainerFromDobbySpec": (StartFromSpec, _descriptor),
    "stopContainer": (Stop, _nothing),
    "pauseContainer": (OfContainer, _nothing),
    "resumeContainer": (OfContainer, _nothing),
    "execCommand": (Exec, _nothing),
    "executeCommand": (Exec, _nothing),
    "hibernateContainer": (Hibernate, _nothing),
    "wakeupContainer": (OfContainer, _nothing),
    "annotate": (Annotate, _nothing),
    "removeAnnotation": (RemoveAnnotation, _nothing),
    "mount": (Mount, _nothing),
    "unmount": (Unmount, _nothing),
}
