"""Calls that may take for ever: they end when their caller leaves the bus."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

from ocibridge.api.admission import Admission
from ocibridge.api.callers import Callers
from ocibridge.api.member import Call
from ocibridge.bus import ErrorReply
from ocibridge.errors import LimitsExceeded, Timeout
from ocibridge.owners import Owners

# A wait that is over this soon is not worth watching whether its caller is still there.
SHORT_SECONDS: Final = 0.2


class Waiting:
    """Those under way."""

    def __init__(self, owners: Owners, callers: Callers, admission: Admission) -> None:
        self._owners = owners
        self._callers = callers
        self._admission = admission

    async def while_there(self, call: Call, work: Awaitable[Any]) -> Any:
        """The result, unless the caller leaves the bus: then there is nobody to wait for it. Raises LimitsExceeded."""
        waiting = asyncio.ensure_future(work)  # awaited here; its errors are the caller's
        try:
            await asyncio.wait([waiting], timeout=SHORT_SECONDS)
            if not waiting.done():
                await self._stay(call, waiting)
        except ErrorReply as error:
            raise LimitsExceeded(f"the bus does not let us see callers leave: {error.text}") from None
        finally:
            waiting.cancel()
        if waiting.cancelled():
            raise Timeout("the caller has left the bus")
        return waiting.result()

    async def _stay(self, call: Call, waiting: "asyncio.Future[Any]") -> None:
        def seen(owner: str) -> None:
            if not owner:
                waiting.cancel()

        await self._callers.known(call.sender)
        self._admission.check_stay(call)
        await self._owners.watch(call.sender, seen)
        try:
            await asyncio.wait([waiting])
        finally:
            self._owners.unwatch(call.sender, seen)
