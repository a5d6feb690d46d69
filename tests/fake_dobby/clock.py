"""A monotonic clock that stands still until the test moves it: for what depends on time, without waiting for it."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Put in the place of `time.monotonic`, it is the clock of the event loop as well. It runs unless it is frozen.

    What moves on an event (replies, signals, processes) goes on as ever while it stands still; timeouts never end.
    """

    def __init__(self) -> None:
        self._real = time.monotonic
        self._ahead = 0.0  # of the real one, while it runs
        self._frozen: float | None = None

    def __call__(self) -> float:
        return self._real() + self._ahead if self._frozen is None else self._frozen

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It stands still inside the `with` block, and goes on from there after it."""
        self._frozen = self()
        try:
            yield
        finally:
            self._ahead, self._frozen = self._frozen - self._real(), None

    async def advance(self, seconds: float) -> None:
        """So much later; returns when what was due by then has been called."""
        assert self._frozen is not None
        self._frozen += seconds
        for _ in range(10):
            await asyncio.sleep(0)
