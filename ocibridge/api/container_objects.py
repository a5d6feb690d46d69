"""One object a container on the bus, there as long as the container is (design 5)."""

from ocibridge.api.dispatcher import Dispatcher
from ocibridge.api.methods import Verb
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
    """The objects that are there, by the container's id: an id used again is a new object."""

    def __init__(self, bus: Bus, dispatcher: Dispatcher, verbs: tuple[Verb, ...]) -> None:
        self._bus = bus
        self._dispatcher = dispatcher
        self._verbs = tuple(verb for verb in verbs if verb.on_container)
        self._objects: dict[str, tuple[Container, Served]] = {}

    def appear(self, container: Container) -> None:
        """Put its object on the bus, and say so."""
        methods = tuple(
            self._dispatcher.method(verb.container_member(container)) for verb in self._verbs
        )
        interface = Interface(CONTAINER_INTERFACE, methods, _properties(container))
        self._objects[container.id] = container, self._bus.appear(_path(container.id), interface)

    def changed(self, event: StateChanged) -> None:
        """Announce its state, as far as it is another one."""
        container, _ = self._objects[event.id]
        self._announce_state(event.id, event.former, event.substate, container.changed_at)

    def restarted(self, event: ContainerRestarted) -> None:
        """Announce when it was restarted."""
        self._bus.emit_changed(
            _path(event.id), CONTAINER_INTERFACE, {"StartedAt": ("t", event.started_at)}
        )

    def corrected(self, event: ProvenanceCorrected) -> None:
        """Announce what it turned out to be: constant but for two starts of one id at once, ours and somebody else's."""
        container, _ = self._objects[event.id]
        origin, path = container.provenance.origin.value, container.provenance.bundle_path
        self._bus.emit_changed(
            _path(event.id),
            CONTAINER_INTERFACE,
            {"Origin": ("s", origin), "BundlePath": ("s", path)},
        )

    def ending(self, event: ContainerEnded) -> None:
        """Announce its last state."""
        self._announce_state(event.id, event.former, SubState.STOPPED, event.exit.stopped_at)

    def disappear(self, container_id: str) -> None:
        """Take its object off the bus, and say so."""
        _, served = self._objects.pop(container_id)
        self._bus.disappear(_path(container_id), served)

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
