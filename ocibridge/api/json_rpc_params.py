# SPDX-License-Identifier: Apache-2.0
"""The methods in JSON: the parameters and the result of each (docs/design.md, JSON-RPC).

Each is declared once, for both dialects: a parameter with its name, its type, and whether it is
optional. JSON null means "not given". Unknown members are ignored, as Thunder does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Raw

from ocibridge.bridge.info import Info
from ocibridge.errors import InvalidArgs
from ocibridge.model import SubState


class InvalidParams(InvalidArgs):
    """The `params` do not fit the method: one is missing, or is of another type.

    A value that fits, and is refused, is InvalidArgs.
    """


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


# A dialect's word for a state.
Spelling = Callable[[SubState], str]


@dataclass(frozen=True)
class JsonMethod:
    """A method in JSON.

    `members` converts the operation's result to the members of the JSON result. `zeros`: those that
    the method has in IOCIContainer's document, as they are in a refusal.
    """

    params: type[Params]
    members: Callable[[Any, Spelling], dict[str, Any]]
    zeros: Mapping[str, Any]


def _containers(found: list[tuple[int, str]], _: Spelling) -> dict[str, Any]:
    return {
        "containers": [
            {"Descriptor": descriptor, "Id": container_id} for descriptor, container_id in found
        ]
    }


def _state(found: tuple[str, SubState], spelling: Spelling) -> dict[str, Any]:
    container_id, substate = found
    return {"containerId": container_id, "state": spelling(substate)}


def _info(info: Info, spelling: Spelling) -> dict[str, Any]:
    return {"info": Raw(info.json(spelling))}


def _descriptor(descriptor: int, _: Spelling) -> dict[str, Any]:
    return {"descriptor": descriptor}


def _nothing(_: None, __: Spelling) -> dict[str, Any]:
    return {}


def _starting(params: type[Params]) -> JsonMethod:
    return JsonMethod(params, _descriptor, {"descriptor": 0})


def _changing(params: type[Params]) -> JsonMethod:
    return JsonMethod(params, _nothing, {})


METHODS: Final = {
    "listContainers": JsonMethod(Nothing, _containers, {"containers": ""}),
    "getContainerState": JsonMethod(OfContainer, _state, {"state": "INVALID"}),
    "getContainerInfo": JsonMethod(OfContainer, _info, {"info": ""}),
    "startContainer": _starting(Start),
    "startContainerFromDobbySpec": _starting(StartFromSpec),
    "stopContainer": _changing(Stop),
    "pauseContainer": _changing(OfContainer),
    "resumeContainer": _changing(OfContainer),
    "execCommand": _changing(Exec),
    "executeCommand": _changing(Exec),
    "hibernateContainer": _changing(Hibernate),
    "wakeupContainer": _changing(OfContainer),
    "annotate": _changing(Annotate),
    "removeAnnotation": _changing(RemoveAnnotation),
    "mount": _changing(Mount),
    "unmount": _changing(Unmount),
}
