# SPDX-License-Identifier: Apache-2.0
"""Notifications to systemd (sd_notify(3)). A no-op when not started by systemd.

(docs/design.md, systemd and the journal)
"""

import asyncio
import os
import time
from contextlib import suppress
from typing import Final

from systemd.daemon import notify

# Added to the time that we announce for a start.
MARGIN_SECONDS: Final = 30.0


class Notify:
    """The daemon's state for systemd. `status`: the line that `systemctl status` shows."""

    def __init__(self) -> None:
        self._status: str | None = None  # None unless ready

    def starting(self, status: str, seconds: float) -> None:
        """Announce that the start may take `seconds`."""
        self._send(
            f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={round((seconds + MARGIN_SECONDS) * 1e6)}"
        )

    def ready(self, status: str) -> None:
        """Announce that the daemon is ready."""
        self._status = status
        self._send("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """Update the status line if it has changed. A no-op unless ready."""
        if self._status not in {None, status}:
            self._status = status
            self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """Announce a reload; `reloaded` has to follow."""
        if self._status is not None:
            self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self, status: str) -> None:
        """Announce the end of a reload."""
        if self._status is not None:
            self.ready(status)

    def stopping(self, status: str) -> None:
        """Announce the stop."""
        self._status = None
        self._send("STOPPING=1", f"STATUS={status}")

    async def feed_watchdog(self) -> None:
        """Feed the watchdog at half of its interval; return at once if there is none."""
        interval = _watchdog_seconds() / 2
        while interval:
            self._send("WATCHDOG=1")
            await asyncio.sleep(interval)

    def _send(self, *lines: str) -> None:
        with suppress(OSError):  # nobody listens at $NOTIFY_SOCKET any more
            notify("\n".join(lines))


def _watchdog_seconds() -> float:
    """The watchdog's interval, 0 if it is off; python3-systemd lacks sd_watchdog_enabled(3)."""
    for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    given = os.environ.get("WATCHDOG_USEC", "")
    return int(given) / 1e6 if for_us and given.isdecimal() else 0.0
