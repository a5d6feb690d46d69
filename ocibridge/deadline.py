"""One bound for a whole operation, however many questions it asks (design 7)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ocibridge.errors import Timeout
from ocibridge.port import Dobby


@asynccontextmanager
async def deadline(seconds: float, what: str, dobby: Dobby) -> AsyncIterator[None]:
    """Raise Timeout, naming `what` was asked and what Dobby is busy with, where the block takes longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Timeout(f"{what}: not done within {seconds:g} s; it may still happen; {dobby.busy_with()}") from None
