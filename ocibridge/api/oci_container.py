"""org.rdk.OCIContainer1 on the bus: signatures and conversions, nothing else (design 2, 3).

Method and argument names are the document's, letter for letter.
"""

from typing import Any

from ocibridge import __version__
from ocibridge.api import values
from ocibridge.api.boundary import Boundary, Member
from ocibridge.bridge import Bridge
from ocibridge.bus import Bus
from ocibridge.members import Interface, Property, Signal
from ocibridge.mirror import Mirror
from ocibridge.model import DobbyStatus
from ocibridge.names import INTERFACE, OBJECT_PATH
from ocibridge.observations import ContainerEnded, ContainerStarted, StatusChanged

STARTED = Signal("onContainerStarted", "is", ("descriptor", "name"))
STOPPED = Signal("onContainerStopped", "is", ("descriptor", "name"))


class OciContainer:
    """The manager object."""

    def __init__(self, bus: Bus, bridge: Bridge, mirror: Mirror, boundary: Boundary) -> None:
        self._bus = bus
        self._bridge = bridge
        self._mirror = mirror
        self._boundary = boundary

    def serve(self) -> None:
        """Put the object on the bus."""
        methods = tuple(map(self._boundary.method, self._members()))
        self._bus.serve(OBJECT_PATH, Interface(INTERFACE, methods, self._properties(), (STARTED, STOPPED)))

    def _members(self) -> tuple[Member, ...]:
        container = ("containerId",)
        return (
            Member("listContainers", "", (), "a(is)", ("containers",), self._list),
            Member("getContainerState", "s", container, "ss", ("containerId", "state"), self._state),
            Member("getContainerInfo", "s", container, "a{sv}", ("info",), self._info),
            Member(
                "startContainer",
                "ssssas",
                ("containerId", "bundlePath", "command", "westerosSocket", "envvar"),
                "i",
                ("descriptor",),
                self._start,
                changes=True,
            ),
            Member(
                "startContainerFromDobbySpec",
                "sss",
                ("containerId", "dobbySpec", "command"),
                "i",
                ("descriptor",),
                self._start_from_spec,
                changes=True,
            ),
            Member("stopContainer", "sb", ("containerId", "force"), "", (), self._stop, changes=True),
            Member("pauseContainer", "s", container, "", (), self._pause, changes=True),
            Member("resumeContainer", "s", container, "", (), self._resume, changes=True),
            # The document says execCommand, the plugin's code executeCommand: both are the one method.
            Member("execCommand", "sss", ("containerId", "options", "command"), "", (), self._exec, changes=True),
            Member("executeCommand", "sss", ("containerId", "options", "command"), "", (), self._exec, changes=True),
        )

    def _properties(self) -> tuple[Property, ...]:
        return (
            Property("Version", "s", lambda: __version__, constant=True),
            Property("DobbyAvailable", "b", lambda: self._mirror.status is DobbyStatus.READY),
            Property("DobbyStatus", "s", lambda: self._mirror.status.value),
            Property("ContainerCount", "u", lambda: self._mirror.count),
        )

    # The methods.

    async def _list(self) -> tuple[Any, ...]:
        return (await self._bridge.list_containers(),)

    async def _state(self, container_id: str) -> tuple[Any, ...]:
        found, state = await self._bridge.container_state(container_id)
        return found, state.value

    async def _info(self, container_id: str) -> tuple[Any, ...]:
        return (values.dictionary(await self._bridge.container_info(container_id)),)

    async def _start(self, container_id: str, bundle_path: str, command: str, socket: str, env: list[str]) -> tuple[Any, ...]:
        return (await self._bridge.start_from_bundle(container_id, bundle_path, command, socket, env),)

    async def _start_from_spec(self, container_id: str, dobby_spec: str, command: str) -> tuple[Any, ...]:
        return (await self._bridge.start_from_spec(container_id, dobby_spec, command),)

    async def _stop(self, container_id: str, force: bool) -> tuple[Any, ...]:
        await self._bridge.stop_container(container_id, force)
        return ()

    async def _pause(self, container_id: str) -> tuple[Any, ...]:
        await self._bridge.pause_container(container_id)
        return ()

    async def _resume(self, container_id: str) -> tuple[Any, ...]:
        await self._bridge.resume_container(container_id)
        return ()

    async def _exec(self, container_id: str, options: str, command: str) -> tuple[Any, ...]:
        await self._bridge.exec_command(container_id, options, command)
        return ()

    # The events.

    def status_changed(self, event: StatusChanged) -> None:
        """Announce Dobby's status."""
        available = event.status is DobbyStatus.READY
        self._changed({"DobbyAvailable": ("b", available), "DobbyStatus": ("s", event.status.value)})

    def started(self, event: ContainerStarted) -> None:
        """Announce a container."""
        self._count_changed()
        self._bus.emit(OBJECT_PATH, INTERFACE, STARTED.name, STARTED.signature, event.descriptor, event.id)

    def ended(self, event: ContainerEnded) -> None:
        """Announce an end."""
        self._count_changed()
        self._bus.emit(OBJECT_PATH, INTERFACE, STOPPED.name, STOPPED.signature, event.descriptor, event.id)

    def _count_changed(self) -> None:
        self._changed({"ContainerCount": ("u", self._mirror.count)})

    def _changed(self, properties: dict[str, tuple[str, Any]]) -> None:
        self._bus.emit_changed(OBJECT_PATH, INTERFACE, properties)
