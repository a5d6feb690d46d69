# SPDX-License-Identifier: Apache-2.0
"""Detects a bus that has stopped reading from us.

dbus-daemon charges a broadcast that a listener does not read to its sender. When too many have
piled up, it stops reading from the sender for good, and reports that to nobody. Only a new
connection helps (docs/design.md, systemd and the journal).
"""

import asyncio
from typing import Final

from ocibridge.bus.connection import Bus
from ocibridge.names import DRIVER, DRIVER_PATH

INTERVAL_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 10


async def until_stuck(bus: Bus) -> None:
    """Call the bus driver regularly; return when it has not answered for `PATIENCE_SECONDS`."""
    while await _answers(bus):  # noqa: ASYNC110 - there is no event for a stuck bus
        await asyncio.sleep(INTERVAL_SECONDS)


async def _answers(bus: Bus) -> bool:
    """Whether the driver answers in time. An error counts: `watch_disconnect` sees a lost bus.

    The wait is made of steps of 1 s. If our process is frozen, only one of them passes while the
    answer lies unread.
    """
    reply = bus.call(DRIVER, DRIVER_PATH, DRIVER, "GetId")
    # Retrieve the exception, so that asyncio does not log it as never retrieved.
    reply.add_done_callback(lambda done: done.cancelled() or done.exception())
    for _ in range(PATIENCE_SECONDS):
        await asyncio.wait([reply], timeout=1)
        if reply.done():
            return True
    return False
