# SPDX-License-Identifier: Apache-2.0
"""org.rdk.OCIContainer1 on the bus: the manager object (docs/design.md, The interface)."""

from typing import Final

from ocibridge import __version__
from ocibridge.api.announcer import SIGNALS
from ocibridge.api.dispatcher import Dispatcher
from ocibridge.api.methods import MethodSpec
from ocibridge.bus.connection import Bus, Served
from ocibridge.bus.interface import Interface, Property
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import DobbyStatus
from ocibridge.names import INTERFACE, OBJECT_PATH

# What a client may look for instead of comparing versions.
FEATURES: Final = ("json-rpc-2",)  # JSON-RPC in both dialects


class ManagerObject:
    """The manager object, which is also the ObjectManager of the container objects."""

    def __init__(
        self, bus: Bus, mirror: Mirror, dispatcher: Dispatcher, specs: tuple[MethodSpec, ...]
    ) -> None:
        self._bus = bus
        self._mirror = mirror
        self._dispatcher = dispatcher
        self._specs = specs
        self._served: Served | None = None

    def serve(self) -> None:
        """Put the object on the bus."""
        methods = tuple(self._dispatcher.method(spec) for spec in self._specs)
        interface = Interface(INTERFACE, methods, self._properties(), SIGNALS)
        self._bus.manage(OBJECT_PATH)
        self._served = self._bus.serve(OBJECT_PATH, interface)

    def _properties(self) -> tuple[Property, ...]:
        mirror = self._mirror
        return (
            Property("Version", "s", lambda: __version__, constant=True),
            Property("Features", "as", lambda: list(FEATURES), constant=True),
            Property("DobbyAvailable", "b", lambda: mirror.status is DobbyStatus.READY),
            Property("DobbyStatus", "s", lambda: mirror.status.value),
            Property("ContainerCount", "u", lambda: mirror.count),
        )
