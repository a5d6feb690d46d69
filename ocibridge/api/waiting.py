"""Calls that may take for ever: they end with their caller, and one user may have so many and no more."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Any, Final

from ocibridge.api.callers import Callers
from ocibridge.bus import ErrorReply
from ocibridge.errors import LimitsExceeded, Timeout
from ocibridge.owners import Owners
from ocibridge.settings import Settings

# A wait that is over this soon is not worth a question whether its caller is still there, nor who that is.
SOON: Final = 0.2


class Waiting:
    """Those under way."""

    def __init__(self, owners: Owners, callers: Callers, settings: Settings) -> None:
        self._owners = owners
        self._callers = callers
        self._settings = settings
        self._of_user: Counter[int] = Counter()

    async def while_there(self, sender: str, work: Awaitable[Any]) -> Any:
        """The result, unless the caller leaves the bus: then there is nobody to wait for it. Raises LimitsExceeded."""
        waiting = asyncio.ensure_future(work)
        try:
            await asyncio.wait([waiting], timeout=SOON)
            if not waiting.done():
                await self._stay(sender, waiting)
        except ErrorReply as error:
            raise LimitsExceeded(f"the bus does not let us see callers leave: {error.text}") from None
        finally:
            waiting.cancel()
        if waiting.cancelled():
            raise Timeout("the caller has left the bus")
        return waiting.result()

    async def _stay(self, sender: str, waiting: "asyncio.Future[Any]") -> None:
        def seen(owner: str) -> None:
            if not owner:
                waiting.cancel()

        caller = self._callers.meet(sender)
        await self._callers.known(sender)
        most = self._settings.now.limits.per_user
        if self._of_user[caller.uid] >= most:
            raise LimitsExceeded(f"{most} waits of user {caller.uid} are under way already (limits.per_user); await one first")
        self._of_user[caller.uid] += 1
        try:
            await self._owners.watch(sender, seen)
            try:
                await asyncio.wait([waiting])
            finally:
                self._owners.unwatch(sender, seen)
        finally:
            self._of_user[caller.uid] -= 1
            self._of_user += Counter()  # which drops those at zero
