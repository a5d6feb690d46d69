# SPDX-License-Identifier: Apache-2.0
"""A client that only listens: what it knows of the containers, and each violation of the order.

The order of signals is that of docs/design.md, The order of events.
"""

from typing import Any

from ocibridge.bus.connection import path_of
from ocibridge.names import CONTAINER_INTERFACE, CONTAINER_PATH, INTERFACE, OBJECT_PATH

CONST = ("Id", "Descriptor")
# Constant, unless another client's start of the same id succeeded instead of ours.
CORRECTED = {"Origin": "unknown", "BundlePath": ""}
# What may follow for a container, by its last event.
NEXT = {
    None: {"InterfacesAdded"},
    "InterfacesAdded": {"State"},
    "State": {"onContainerStarted", "State", "onContainerFailed", "containerExited"},
    "onContainerStarted": {"State", "onContainerFailed"},
    "onContainerFailed": {"State"},
    "containerExited": {"onContainerStopped"},
    "onContainerStopped": {"InterfacesRemoved"},
}


class Observer:
    """Call `heard` with each signal of ocibridge, in order."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.properties: dict[str, Any] = {"ContainerCount": 0, "DobbyAvailable": False}
        self.complaints: list[str] = []
        self.ended = 0
        self._last: dict[str, str] = {}
        self._started: set[str] = set()
        self._announced: dict[str, str] = {}

    def heard(self, path: str, interface: str, member: str, body: tuple[Any, ...]) -> None:
        """Take one signal."""
        if member == "PropertiesChanged" and path == OBJECT_PATH:
            self._manager_changed({name: value for name, (_, value) in body[1].items()})
        elif member == "PropertiesChanged" and path.startswith(CONTAINER_PATH):
            self._changed(path, {name: value for name, (_, value) in body[1].items()})
        elif member == "InterfacesAdded" and path == OBJECT_PATH:
            self._added(
                body[0], {name: value for name, (_, value) in body[1][CONTAINER_INTERFACE].items()}
            )
        elif member == "InterfacesRemoved" and path == OBJECT_PATH:
            self._removed(body[0])
        elif interface == INTERFACE:
            self._signalled(member, body)

    def _complain_unless(self, holds: bool, what: str) -> None:
        if not holds:
            self.complaints.append(what)

    def _step(self, path: str, step: str) -> None:
        last = self._last.get(path)
        self._complain_unless(step in NEXT[last], f"{path}: {step} after {last}")
        self._last[path] = step

    def _added(self, path: str, properties: dict[str, Any]) -> None:
        self._step(path, "InterfacesAdded")
        self._complain_unless(
            path_of(CONTAINER_PATH, properties["Id"]) == path, f"{path} is of {properties['Id']}"
        )
        self.objects[path] = properties

    def _removed(self, path: str) -> None:
        self._step(path, "InterfacesRemoved")
        self._complain_unless(
            self._announced.get(path) == "Stopped",
            f"{path} removed in state {self._announced.get(path)}",
        )
        self._last.pop(path)
        self._announced.pop(path, None)
        self._started.discard(path)
        del self.objects[path]
        self.ended += 1

    def _changed(self, path: str, changed: dict[str, Any]) -> None:
        known = self.objects.get(path)
        if known is None:
            self.complaints.append(f"{path} changed, and is not there")
            return
        for name, value in changed.items():
            self._complain_unless(name not in CONST, f"{path}: {name} has changed")
            self._complain_unless(
                CORRECTED.get(name, value) == value, f"{path}: {name} has become {value}"
            )
            self._complain_unless(
                known[name] != value or name.endswith(("At", "Path")),
                f"{path}: {name} announced twice as {value}",
            )
            known[name] = value

    def _manager_changed(self, changed: dict[str, Any]) -> None:
        for name, value in changed.items():
            self._complain_unless(
                self.properties.get(name) != value, f"{name} announced twice as {value}"
            )
            self.properties[name] = value
        if changed.get("DobbyAvailable"):
            count = self.properties["ContainerCount"]
            self._complain_unless(
                count == len(self.objects),
                f"Dobby is available with {count} containers of {len(self.objects)}",
            )

    def _signalled(self, member: str, body: tuple[Any, ...]) -> None:
        named = body[0] if member in {"onContainerStateChanged", "containerExited"} else body[1]
        path = path_of(CONTAINER_PATH, named)
        known = self.objects.get(path)
        if known is None:
            self.complaints.append(f"{member} of {named}, which is not there")
            return
        if member == "onContainerStateChanged":
            self._step(path, "State")
            self._complain_unless(
                body[1] == known["State"],
                f"{named} is announced as {body[1]}, and is {known['State']}",
            )
            self._complain_unless(
                body[1] != self._announced.get(path), f"{named} is announced twice as {body[1]}"
            )
            self._announced[path] = body[1]
            return
        self._step(path, member)
        descriptor = body[1] if member == "containerExited" else body[0]
        self._complain_unless(
            descriptor == known["Descriptor"], f"{member} of {named} names {descriptor}"
        )
        if member == "onContainerStarted":
            self._complain_unless(path not in self._started, f"{named} started twice")
            self._started.add(path)
        if member in {"onContainerStarted", "onContainerStopped"}:
            living = len(self.objects) - (member == "onContainerStopped")
            self._complain_unless(
                self.properties["ContainerCount"] == living,
                f"{member}: count {self.properties['ContainerCount']}",
            )
        if member == "containerExited":
            self._complain_unless(
                self._announced.get(path) == "Stopped",
                f"{named} exited while {self._announced.get(path)}",
            )
