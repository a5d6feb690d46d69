# SPDX-License-Identifier: Apache-2.0
"""When Dobby has been silent for long enough to send a Ping, or to count as stalled.

All times are in seconds (docs/design.md, Dobby's side).
"""

from collections.abc import Callable
from typing import Final

# Send a Ping after so long without any reply.
ASK_AFTER: Final = 1.0
# Stalled: no reply to anything, not even to Ping.
SILENT_SECONDS: Final = 5.0
# Stalled: no reply to anything but Ping. This is longer because a start may take long: a poststart
# hook blocks Dobby's work queue, but not Ping (docs/dobby.md, The work queue).
WORKLESS_SECONDS: Final = 30.0
# How often to look.
INTERVAL: Final = 0.5


class Health:
    """Knows when Dobby last replied to anything, and when to anything but Ping."""

    interval = INTERVAL

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.begin()

    def begin(self) -> None:
        """A new Dobby process: nothing is held against it."""
        self._answered_at = self._worked_at = self._now()

    def answered(self, work: bool) -> None:
        """A reply has come. `work`: to a call that is not Ping."""
        self._answered_at = self._now()
        if work:
            self._worked_at = self._answered_at

    def excuse(self, seconds: float) -> None:
        """Discount time in which our own loop was blocked; replies may be queued unread."""
        self._answered_at += seconds
        self._worked_at += seconds

    def is_silent(self, calls_since: float) -> bool:
        """Whether it is time for a Ping. `calls_since`: when the oldest call in flight was sent."""
        return self._now() - max(self._answered_at, calls_since) >= ASK_AFTER

    def is_stalled(self, calls_since: float | None, work_since: float | None) -> bool:
        """Whether Dobby has replied to nothing, or to nothing but Ping, for too long.

        `calls_since`: when the oldest call in flight was sent. It has to be None unless a Ping is
        in flight: without one, silence proves nothing. `work_since`: when the oldest call in flight
        other than Ping was sent; None if there is none.
        """
        if calls_since is not None:
            silent_since = max(self._answered_at, calls_since)
            if self._now() - silent_since >= SILENT_SECONDS:
                return True
        if work_since is None:
            return False
        return self._now() - max(self._worked_at, work_since) >= WORKLESS_SECONDS
