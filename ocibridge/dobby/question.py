"""One question, shared by all who ask it while it is out."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from ocibridge.dobby.line import Call

T = TypeVar("T")


class Question(Generic[T]):
    """Dobby's queue is first in, first out, so an answer still to come is as good as one asked for now.

    If it does not come, it may be lost: then the question is asked once more beside it, but no third time.
    """

    def __init__(self, ask: Callable[[], Call[T]]) -> None:
        self._ask = ask
        self._asked_at = 0.0
        self._last: Call[T] | None = None
        self._before: Call[T] | None = None

    def share(self, patience: float, *, fresh: bool) -> "asyncio.Future[T]":
        """A future of the asker's own, who may give it up. `patience`: seconds until an answer may be lost."""
        last = self._last
        is_out = last is not None and (last.sent_at or last.is_over)  # one that has not gone out yet is as fresh as a new one
        if last is None or last.is_over or (fresh and is_out) or self._is_lost(patience):
            self._before, self._asked_at = last, time.monotonic()
            self._last = last = self._ask()
        return last.share()

    def _is_lost(self, patience: float) -> bool:
        return time.monotonic() - self._asked_at > patience and (self._before is None or self._before.is_over)
