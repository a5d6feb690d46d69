"""Work that ends early when the daemon is told to stop.

The bus may accept a connection and never answer. Without this, SIGTERM would only be noted, and the start would go on waiting.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The daemon was told to stop before the work was done."""


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, or its exception. Raises Stopped, with `work` cancelled, where `stop` is set first."""
    task = asyncio.ensure_future(work)
    told = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((task, told), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Stopped
        return task.result()
    finally:
        told.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))  # until its own clean-up is done
