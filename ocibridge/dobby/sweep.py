# SPDX-License-Identifier: Apache-2.0
"""The sweep: finds what Dobby does not signal, above all pauses and resumes by other clients.

(docs/design.md, The mirror)
"""

import asyncio
from contextlib import suppress
from typing import Any, Final

from ocibridge.config.schema import Settings
from ocibridge.dobby.client import DobbyClient
from ocibridge.dobby.transport import Transport
from ocibridge.errors import BridgeError
from ocibridge.mirror.mirror import Mirror
from ocibridge.tasks import spawn

# While calls are in flight, a sweep is put off: it would only lengthen Dobby's queue. It begins at
# the latest after so many intervals.
MAX_INTERVALS: Final = 10


class Sweep:
    """Every `sweep_interval`, asks List and the state of each container, one after another."""

    def __init__(
        self, mirror: Mirror, transport: Transport, dobby: DobbyClient, settings: Settings
    ) -> None:
        self._mirror = mirror
        self._transport = transport
        self._dobby = dobby
        self._settings = settings
        self._running: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin to sweep, or begin anew after the interval has changed."""
        self.end()
        self._running = spawn(self._run(self._settings.now.sweep_interval), "sweep")

    def end(self) -> None:
        """Stop sweeping."""
        if self._running is not None:
            self._running.cancel()

    async def _run(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            with suppress(TimeoutError):
                async with asyncio.timeout(interval * (MAX_INTERVALS - 1)):
                    await self._transport.idle.wait()
            try:
                await self._once()
            except (BridgeError, TimeoutError):
                pass  # Dobby is not ready, or too slow: the next sweep tries again
            except Exception as failure:  # noqa: BLE001 - reported; it must not end the sweep
                context = {
                    "message": "a sweep crashed; the next one will be tried",
                    "exception": failure,
                }
                asyncio.get_running_loop().call_exception_handler(context)

    async def _once(self) -> None:
        """One sweep. Raises BridgeError, and TimeoutError for a late answer, which may be lost."""
        await self._in_time(self._dobby.refresh())
        has_invalid = False
        for container in self._mirror.listing():
            await self._in_time(self._dobby.state(container.descriptor))
            has_invalid |= container.invalid_at is not None
        if has_invalid:  # a later List tells an invalid state from an end (docs/design.md, States)
            await self._in_time(self._dobby.refresh(fresh=True))

    async def _in_time(self, answer: "asyncio.Future[Any]") -> None:
        async with asyncio.timeout(self._settings.now.timeouts.call):
            await answer
