# SPDX-License-Identifier: Apache-2.0
"""One object on the bus for each container (docs/design.md, Containers as objects)."""

from ocibridge.api.dispatcher import Dispatcher
from ocibridge.api.methods import MethodSpec
from ocibridge.bus.connection import Bus, Served, path_of
from ocibridge.bus.interface import Interface, Property
from ocibridge.mirror.events import (
    ContainerEnded,
    ContainerRestarted,
    ProvenanceCorrected,
    StateChanged,
)
from ocibridge.model import Container, SubState
from ocibridge.names import CONTAINER_INTERFACE, CONTAINER_PATH


class ContainerObjects:
    """The container objects. An id that is used again gets a new object at the same path."""

    def __init__(self, bus: Bus, dispatcher: Dispatcher, specs: tuple[MethodSpec, ...]) -> None:
        self._bus = bus
        self._objects: dict[str, tuple[Container, Served]] = {}  # by object path
        self._methods = tuple(
            dispatcher.method(spec.for_container(), self._container_at)
            for spec in specs
            if spec.on_container
        )

    def _container_at(self, path: str) -> Container:
        return self._objects[path][0]

    def appear(self, container: Container) -> None:
        """Put the object on the bus, with InterfacesAdded."""
        path = _path(container.id)
        interface = Interface(CONTAINER_INTERFACE, self._methods, _properties(container))
        self._objects[path] = container, self._bus.appear(path, interface)

    def changed(self, event: StateChanged) -> None:
        """Announce what has changed of the container's state."""
        container = self._container_at(_path(event.id))
        self._announce_state(event.id, event.former, event.substate, container.changed_at)

    def restarted(self, event: ContainerRestarted) -> None:
        """Announce when Dobby restarted the container."""
        self._bus.emit_changed(
            _path(event.id), CONTAINER_INTERFACE, {"StartedAt": ("t", event.started_at)}
        )

    def corrected(self, event: ProvenanceCorrected) -> None:
        """Announce Origin and BundlePath anew: another client's start of the same id succeeded."""
        provenance = self._container_at(_path(event.id)).provenance
        origin, path = provenance.origin.value, provenance.bundle_path
        self._bus.emit_changed(
            _path(event.id),
            CONTAINER_INTERFACE,
            {"Origin": ("s", origin), "BundlePath": ("s", path)},
        )

    def ending(self, event: ContainerEnded) -> None:
        """Announce the container's last state."""
        self._announce_state(event.id, event.former, SubState.STOPPED, event.exit.stopped_at)

    def disappear(self, container_id: str) -> None:
        """Take the object off the bus, with InterfacesRemoved."""
        path = _path(container_id)
        _, served = self._objects.pop(path)
        self._bus.disappear(path, served)

    def _announce_state(
        self, container_id: str, former: SubState, substate: SubState, at: int
    ) -> None:
        changed = {"SubState": ("s", substate.value)}
        if former.state is not substate.state:
            changed |= {"State": ("s", substate.state.value)}
            self._bus.emit_changed(
                _path(container_id), CONTAINER_INTERFACE, changed | {"StateChangedAt": ("t", at)}
            )
        else:
            self._bus.emit_changed(_path(container_id), CONTAINER_INTERFACE, changed)


def _path(container_id: str) -> str:
    return path_of(CONTAINER_PATH, container_id)


def _properties(container: Container) -> tuple[Property, ...]:
    return (
        Property("Id", "s", lambda: container.id, constant=True),
        Property("Descriptor", "i", lambda: container.descriptor, constant=True),
        Property("State", "s", lambda: container.substate.state.value),
        Property("SubState", "s", lambda: container.substate.value),
        Property("Origin", "s", lambda: container.provenance.origin.value, constant=True),
        Property("BundlePath", "s", lambda: container.provenance.bundle_path, constant=True),
        Property("StartedAt", "t", lambda: container.started_at),
        Property("StateChangedAt", "t", lambda: container.changed_at),
    )
