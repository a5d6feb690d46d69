# SPDX-License-Identifier: Apache-2.0
"""python-sdbus as documented: a class with decorated coroutines, and a proxy.

Argument: the name to own.
"""

import asyncio
import sys

import sdbus

from benchmarks.peers.states import DOBBY, INTERFACE, PATH, STATES, descriptor


class Dobby(sdbus.DbusInterfaceCommonAsync, interface_name=DOBBY[2]):
    """Dobby's interface."""

    @sdbus.dbus_method_async("i", "i", method_name="GetState")
    async def get_state(self, descriptor: int) -> int:
        raise NotImplementedError


class Forwarder(sdbus.DbusInterfaceCommonAsync, interface_name=INTERFACE):
    """The service."""

    def __init__(self, dobby: Dobby) -> None:
        super().__init__()
        self._dobby = dobby

    @sdbus.dbus_method_async("s", "ss", sdbus.DbusUnprivilegedFlag, method_name="getContainerState")
    async def get_container_state(self, container_id: str) -> tuple[str, str]:
        return container_id, STATES[await self._dobby.get_state(descriptor(container_id))]


async def main() -> None:
    """Serve until killed."""
    sdbus.set_default_bus(sdbus.sd_bus_open_user())
    forwarder = Forwarder(Dobby.new_proxy(DOBBY[0], DOBBY[1]))
    exported = forwarder.export_to_dbus(PATH)
    await sdbus.request_default_bus_name_async(sys.argv[1])
    await asyncio.Event().wait()
    del exported


asyncio.run(main())
