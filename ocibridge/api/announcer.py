# SPDX-License-Identifier: Apache-2.0
"""The signals that each event of the mirror causes (docs/design.md, The order of events).

The object's PropertiesChanged precedes the signal it belongs to. An object exists from before
its container's first signal until after its last one.
"""

from collections.abc import Callable
from typing import Any, Final

from ocibridge.api import values
from ocibridge.api.container_objects import ContainerObjects
from ocibridge.bus.connection import Bus
from ocibridge.bus.interface import Signal
from ocibridge.mirror.events import (
    ContainerEnded,
    ContainerRestarted,
    ContainerStarted,
    Event,
    ProvenanceCorrected,
    StateChanged,
    StatusChanged,
)
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import DobbyStatus, State
from ocibridge.names import INTERFACE, OBJECT_PATH

STARTED: Final = Signal("onContainerStarted", "is", ("descriptor", "name"))
STOPPED: Final = Signal("onContainerStopped", "is", ("descriptor", "name"))
FAILED: Final = Signal("onContainerFailed", "isu", ("descriptor", "name", "errorCode"))
STATE_CHANGED: Final = Signal("onContainerStateChanged", "ss", ("containerId", "state"))
EXITED: Final = Signal("containerExited", "sia{sv}", ("containerId", "descriptor", "exit"))
# IOCIContainer's, also for an end by a signal.
UNKNOWN_EXIT_CODE: Final = -1
SIGNALS: Final = (STARTED, STOPPED, FAILED, STATE_CHANGED, EXITED)


class Announcer:
    """Sends the signals. `also` is called with each signal of the manager, after it is sent.

    It gets the signal's arguments, and members that only the JSON-RPC notification has.
    """

    def __init__(
        self,
        bus: Bus,
        mirror: Mirror,
        containers: ContainerObjects,
        also: Callable[[Signal, tuple[Any, ...], dict[str, Any]], None],
    ) -> None:
        self._bus = bus
        self._mirror = mirror
        self._containers = containers
        self._also = also
        self._available = False  # as announced last

    def on_event(self, event: Event) -> None:
        """Announce an event of the mirror."""
        match event:
            case StatusChanged():
                self._status_changed(event)
            case ContainerStarted():
                self._started(event)
            case StateChanged():
                self._changed(event)
            case ProvenanceCorrected():
                self._containers.corrected(event)
            case ContainerRestarted():
                self._containers.restarted(event)
            case ContainerEnded():
                self._ended(event)
            case _:
                pass  # internal to the daemon

    def _status_changed(self, event: StatusChanged) -> None:
        """Announce Dobby's status."""
        changed: dict[str, tuple[str, Any]] = {"DobbyStatus": ("s", event.status.value)}
        if (event.status is DobbyStatus.READY) is not self._available:
            self._available = not self._available
            changed["DobbyAvailable"] = "b", self._available
        self._tell(changed)

    def _started(self, event: ContainerStarted) -> None:
        """Announce a new container."""
        container = self._mirror.find(event.id)
        if container is None:
            raise LookupError(f"{event.id} has been announced, and is not there")
        self._containers.appear(container)
        self._count_changed()
        self._send(STATE_CHANGED, event.id, event.substate.state.value)
        self._send(STARTED, event.descriptor, event.id)

    def _changed(self, event: StateChanged) -> None:
        """Announce a new state, or only a new substate."""
        self._containers.changed(event)
        if event.former.state is not event.substate.state:
            self._send(STATE_CHANGED, event.id, event.substate.state.value)

    def _ended(self, event: ContainerEnded) -> None:
        """Announce the end of a container."""
        if event.exit.failure_code is not None:
            self._send(FAILED, event.descriptor, event.id, event.exit.failure_code)
        self._containers.ending(event)
        self._send(STATE_CHANGED, event.id, State.STOPPED.value)
        self._send(EXITED, event.id, event.descriptor, values.exit_record(event.exit))
        self._count_changed()
        code = UNKNOWN_EXIT_CODE if event.exit.exit_code is None else event.exit.exit_code
        self._send(STOPPED, event.descriptor, event.id, json_only={"exitCode": code})
        self._containers.disappear(event.id)

    def _count_changed(self) -> None:
        self._tell({"ContainerCount": ("u", self._mirror.count)})

    def _tell(self, properties: dict[str, tuple[str, Any]]) -> None:
        self._bus.emit_changed(OBJECT_PATH, INTERFACE, properties)

    def _send(
        self, signal: Signal, *arguments: Any, json_only: dict[str, Any] | None = None
    ) -> None:
        self._bus.emit(OBJECT_PATH, INTERFACE, signal.name, signal.signature, *arguments)
        self._also(signal, arguments, json_only or {})
