# SPDX-License-Identifier: Apache-2.0
"""dbus-fast as documented: a ServiceInterface and a proxy.

Argument: the name to own.
"""
# ruff: noqa: N802, F821 - dbus-fast reads signatures from annotations, and names from methods
# mypy: ignore-errors

import asyncio
import sys

from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, method

from benchmarks.peers.states import DOBBY, INTERFACE, PATH, STATES, descriptor

DOBBY_XML = f"""<node><interface name="{DOBBY[2]}">
<method name="GetState"><arg type="i" direction="in"/><arg type="i" direction="out"/></method>
</interface></node>"""


class Forwarder(ServiceInterface):
    """The service."""

    def __init__(self, dobby) -> None:
        super().__init__(INTERFACE)
        self._dobby = dobby

    @method()
    async def getContainerState(self, container_id: "s") -> "ss":
        return [container_id, STATES[await self._dobby.call_get_state(descriptor(container_id))]]


async def main() -> None:
    """Serve until killed."""
    bus = await MessageBus().connect()
    dobby = bus.get_proxy_object(DOBBY[0], DOBBY[1], DOBBY_XML).get_interface(DOBBY[2])
    bus.export(PATH, Forwarder(dobby))
    await bus.request_name(sys.argv[1])
    await asyncio.Event().wait()


asyncio.run(main())
