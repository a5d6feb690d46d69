"""org.rdk.OCIContainer1 on the bus: signatures and conversions, nothing else (design 2, 3).

Method and argument names are the document's, letter for letter.
"""

from typing import Any

from ocibridge import __version__
from ocibridge.api import values
from ocibridge.api.announcer import SIGNALS
from ocibridge.api.call import Member, itself
from ocibridge.api.dispatcher import Dispatcher
from ocibridge.api.methods import Verb
from ocibridge.bridge.bridge import Bridge
from ocibridge.bus.connection import Bus, Served
from ocibridge.bus.interface import Interface, Property
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import DobbyStatus, Exit
from ocibridge.names import INTERFACE, OBJECT_PATH


class ManagerObject:
    """The manager object, which also manages those of the containers (org.freedesktop.DBus.ObjectManager)."""

    def __init__(
        self,
        bus: Bus,
        bridge: Bridge,
        mirror: Mirror,
        dispatcher: Dispatcher,
        verbs: tuple[Verb, ...],
    ) -> None:
        self._bus = bus
        self._bridge = bridge
        self._mirror = mirror
        self._dispatcher = dispatcher
        self.members = (*self._members(), *(verb.manager_member() for verb in verbs))
        self._served: Served | None = None

    def serve(self) -> None:
        """Put the object on the bus."""
        methods = tuple(map(self._dispatcher.method, self.members))
        self._bus.manage(OBJECT_PATH)
        self._served = self._bus.serve(
            OBJECT_PATH, Interface(INTERFACE, methods, self._properties(), SIGNALS)
        )

    def _members(self) -> tuple[Member, ...]:
        """Those that are not about a container that is there."""
        bundle = ("containerId", "bundlePath", "command", "westerosSocket", "envvar")
        spec = ("containerId", "dobbySpec", "command")
        started = ("descriptor",)
        return (
            Member(
                "listContainers",
                "",
                (),
                "a(is)",
                ("containers",),
                self._bridge.list_containers,
                itself,
            ),
            Member(
                "startContainer",
                "ssssas",
                bundle,
                "i",
                started,
                self._bridge.start_from_bundle,
                itself,
                changes=True,
                creates=True,
            ),
            Member(
                "startContainerFromDobbySpec",
                "sss",
                spec,
                "i",
                started,
                self._bridge.start_from_spec,
                itself,
                changes=True,
                creates=True,
            ),
            Member(
                "getLastExit",
                "s",
                ("containerId",),
                "a{sv}",
                ("exit",),
                self._bridge.last_exit,
                _exit,
            ),
        )

    def _properties(self) -> tuple[Property, ...]:
        return (
            Property("Version", "s", lambda: __version__, constant=True),
            Property("DobbyAvailable", "b", lambda: self._mirror.status is DobbyStatus.READY),
            Property("DobbyStatus", "s", lambda: self._mirror.status.value),
            Property("ContainerCount", "u", lambda: self._mirror.count),
        )


def _exit(record: Exit) -> tuple[Any, ...]:
    return (values.exit_record(record),)
