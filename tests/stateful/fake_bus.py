# SPDX-License-Identifier: Apache-2.0
"""Replaces the bus for what we announce: each signal goes to one observer."""

from typing import Any

from ocibridge.bus.interface import Interface
from ocibridge.names import OBJECT_MANAGER, OBJECT_PATH, PROPERTIES
from tests.fake_dobby.observer import Observer


class FakeBus:
    """The part of `Bus` that `Announcer` and `ContainerObjects` use."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._served: dict[str, Interface] = {}

    def emit(self, path: str, interface: str, member: str, _signature: str, *args: Any) -> None:
        self._observer.heard(path, interface, member, args)

    def emit_changed(self, path: str, interface: str, changed: dict[str, tuple[str, Any]]) -> None:
        self.emit(path, PROPERTIES, "PropertiesChanged", "", interface, changed, [])

    def appear(self, path: str, interface: Interface) -> Interface:
        assert path not in self._served
        self._served[path] = interface
        properties = {p.name: (p.signature, p.read()) for p in interface.properties}
        self.emit(
            OBJECT_PATH, OBJECT_MANAGER, "InterfacesAdded", "", path, {interface.name: properties}
        )
        return interface

    def disappear(self, path: str, served: Interface) -> None:
        assert self._served.pop(path) is served
        self.emit(OBJECT_PATH, OBJECT_MANAGER, "InterfacesRemoved", "", path, [served.name])

    def managed_objects(self) -> dict[str, dict[str, Any]]:
        """What GetManagedObjects would return now."""
        return {
            path: {p.name: p.read() for p in interface.properties}
            for path, interface in self._served.items()
        }
