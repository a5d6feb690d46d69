"""The sweep (design 6): finds what Dobby does not say, above all pauses and resumes by its other clients."""

import asyncio
from contextlib import suppress
from typing import Final

from ocibridge.dobby.calls import Calls
from ocibridge.dobby.client import Client
from ocibridge.errors import BridgeError
from ocibridge.mirror import Mirror
from ocibridge.model import SubState
from ocibridge.settings import Settings

# While Dobby is busy a sweep would only stand in its queue: it is put off, but not for ever.
MOST_INTERVALS: Final = 10


class Sweep:
    """A List, and the state of each container, one question after another, every `sweep_interval`."""

    def __init__(self, mirror: Mirror, client: Client, calls: Calls, settings: Settings) -> None:
        self._mirror = mirror
        self._client = client
        self._calls = calls
        self._settings = settings
        self._running: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """From now on, also anew with another interval."""
        self.end()
        self._running = asyncio.get_running_loop().create_task(self._run(self._settings.now.sweep_interval))

    def end(self) -> None:
        """No more."""
        if self._running is not None:
            self._running.cancel()

    async def _run(self, interval: float) -> None:
        """For as long as ocibridge runs; with a Dobby that is not ready there is nothing to do."""
        while True:
            await asyncio.sleep(interval)
            with suppress(TimeoutError):
                async with asyncio.timeout(interval * (MOST_INTERVALS - 1)):
                    await self._client.idle.wait()
            with suppress(BridgeError):
                await self._once()

    async def _once(self) -> None:
        await self._calls.listing(fresh=True)
        doubtful = False
        for container in self._mirror.listing():
            doubtful |= await self._calls.state(container.descriptor) is SubState.INVALID
        if doubtful:  # Invalid only if a List asked after it still has the container (design 4)
            await self._calls.listing(fresh=True)
