"""Silence, measured: when to ask a quiet Dobby whether it lives, and when to say that it does not (design 7)."""

from collections.abc import Callable
from typing import Final

ASK_AFTER: Final = 1.0
SILENT_SECONDS: Final = 5.0
# A start may take long: a poststart hook blocks Dobby's work queue, but not Ping (facts 7).
WORKLESS_SECONDS: Final = 30.0
INTERVAL: Final = 0.5


class Health:
    """Remembers when Dobby last answered anything, and when it last answered anything but Ping."""

    interval = INTERVAL

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.begin()

    def begin(self) -> None:
        """A new life starts with a clean record."""
        self._answered_at = self._worked_at = self._now()

    def answered(self, work: bool) -> None:
        """An answer came; `work`: to something else than Ping."""
        self._answered_at = self._now()
        if work:
            self._worked_at = self._answered_at

    def excuse(self, seconds: float) -> None:
        """We were not there for so long ourselves: frozen, or flooded with calls. Answers may lie unread."""
        self._answered_at += seconds
        self._worked_at += seconds

    def is_silent(self, calls_since: float) -> bool:
        """Whether the oldest outstanding call (sent at `calls_since`) has been met with silence long enough to ask."""
        return self._now() - max(self._answered_at, calls_since) >= ASK_AFTER

    def is_stalled(self, calls_since: float | None, work_since: float | None) -> bool:
        """Whether Dobby answers nothing at all, or nothing but Ping, for too long.

        `calls_since`: when the oldest outstanding call was sent, if a Ping is among them; without one, silence proves
        nothing. `work_since`: likewise of those that are no Ping.
        """
        if (
            calls_since is not None
            and self._now() - max(self._answered_at, calls_since) >= SILENT_SECONDS
        ):
            return True
        return (
            work_since is not None
            and self._now() - max(self._worked_at, work_since) >= WORKLESS_SECONDS
        )
