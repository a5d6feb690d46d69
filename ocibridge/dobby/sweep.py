"""The sweep (design 6): finds what Dobby does not say, above all pauses and resumes by its other clients."""

import asyncio
from contextlib import suppress
from typing import Any, Final

from ocibridge.config.schema import Settings
from ocibridge.dobby.client import DobbyClient
from ocibridge.dobby.transport import Transport
from ocibridge.errors import BridgeError
from ocibridge.mirror.mirror import Mirror
from ocibridge.tasks import spawn

# While Dobby is busy a sweep would only stand in its queue: it is put off, but not for ever.
MAX_INTERVALS: Final = 10


class Sweep:
    """A List, and the state of each container, one question after another, every `sweep_interval`."""

    def __init__(
        self, mirror: Mirror, client: Transport, calls: DobbyClient, settings: Settings
    ) -> None:
        self._mirror = mirror
        self._client = client
        self._calls = calls
        self._settings = settings
        self._running: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """From now on, also anew with another interval."""
        self.end()
        self._running = spawn(self._run(self._settings.now.sweep_interval), "sweep")

    def end(self) -> None:
        """No more."""
        if self._running is not None:
            self._running.cancel()

    async def _run(self, interval: float) -> None:
        """For as long as ocibridge runs; with a Dobby that is not ready there is nothing to do."""
        while True:
            await asyncio.sleep(interval)
            with suppress(TimeoutError):
                async with asyncio.timeout(interval * (MAX_INTERVALS - 1)):
                    await self._client.idle.wait()
            try:
                await self._once()
            except (BridgeError, TimeoutError):
                pass  # the next pass tries again
            except Exception as failure:  # noqa: BLE001 - one bug must not end all sweeping; it is reported
                context = {
                    "message": "a sweep crashed; the next one is tried",
                    "exception": failure,
                }
                asyncio.get_running_loop().call_exception_handler(context)

    async def _once(self) -> None:
        """Raises TimeoutError where an answer does not come in time: it may be lost, and would never come."""
        await self._in_time(self._calls.refresh())
        doubtful = False
        for container in self._mirror.listing():
            await self._in_time(self._calls.state(container.descriptor))
            doubtful |= container.invalid_at is not None
        if doubtful:  # Invalid only if a List asked after it still has the container (design 4)
            await self._in_time(self._calls.refresh(fresh=True))

    async def _in_time(self, question: "asyncio.Future[Any]") -> None:
        async with asyncio.timeout(self._settings.now.timeouts.call):
            await question
