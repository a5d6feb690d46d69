"""One question, shared by all who ask it while it is out."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from ocibridge.dobby.line import retrieved

T = TypeVar("T")


class Question(Generic[T]):
    """Dobby's queue is first in, first out, so an answer still to come is as good as one asked for now.

    If it does not come, it may be lost: then the question is asked once more beside it, but no third time.
    """

    def __init__(self, ask: "Callable[[], asyncio.Future[T]]") -> None:
        self._ask = ask
        self._asked_at = 0.0
        self._last: asyncio.Future[T] | None = None
        self._before: asyncio.Future[T] | None = None

    def share(self, patience: float, *, fresh: bool) -> "asyncio.Future[T]":
        """A future of the asker's own, who may give it up. `patience`: seconds until an answer may be lost."""
        now = asyncio.get_running_loop().time()
        last = self._last
        lost = now - self._asked_at > patience and (self._before is None or self._before.done())
        if fresh or last is None or last.done() or lost:
            self._before, self._asked_at = last, now
            self._last = last = self._ask()
        share = asyncio.shield(last)
        share.add_done_callback(retrieved)
        return share
