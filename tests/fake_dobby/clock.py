# SPDX-License-Identifier: Apache-2.0
"""A monotonic clock that a test can freeze and advance, to test timing without waiting."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Replaces `time.monotonic`, also for the event loop. It runs unless it is frozen.

    While it is frozen, replies, signals and processes still make progress, but no timeout expires.
    """

    def __init__(self) -> None:
        self._real = time.monotonic
        self._ahead = 0.0  # seconds ahead of the real clock while it runs
        self._frozen: float | None = None

    def __call__(self) -> float:
        return self._real() + self._ahead if self._frozen is None else self._frozen

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Frozen inside the `with` block. Continues from there afterwards."""
        self._frozen = self()
        try:
            yield
        finally:
            self._ahead, self._frozen = self._frozen - self._real(), None

    async def advance(self, seconds: float) -> None:
        """Advance, and return after the callbacks due by then have run."""
        assert self._frozen is not None
        self._frozen += seconds
        for _ in range(10):
            await asyncio.sleep(0)
