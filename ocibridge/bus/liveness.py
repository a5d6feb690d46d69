"""Whether the bus still reads what we send (design 12).

dbus-daemon charges a broadcast that a listener does not read to its sender. When enough of them have piled up it stops
reading from the sender, for good, and neither the sender nor anybody else is told. Only a new connection mends that.
"""

import asyncio
from typing import Final

from ocibridge.bus.connection import Bus
from ocibridge.names import DRIVER, DRIVER_PATH

INTERVAL_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 10


async def until_stuck(bus: Bus) -> None:
    """Ask the bus for its id again and again; returns when it has not answered for `PATIENCE_SECONDS`."""
    while await _answers(bus):  # noqa: ASYNC110 - no event tells of a bus that has stopped reading
        await asyncio.sleep(INTERVAL_SECONDS)


async def _answers(bus: Bus) -> bool:
    """An error is an answer too: `watch_disconnect` tells of a connection that is lost.

    Second by second: after our own process was frozen, at most one of them has passed while the answer lay unread.
    """
    reply = bus.call(DRIVER, DRIVER_PATH, DRIVER, "GetId")
    reply.add_done_callback(
        lambda done: done.cancelled() or done.exception()
    )  # an error concerns nobody, also after we have ended
    for _ in range(PATIENCE_SECONDS):
        await asyncio.wait([reply], timeout=1)
        if reply.done():
            return True
    return False
