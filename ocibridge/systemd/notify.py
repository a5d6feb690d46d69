"""systemd's notifications (design 12; sd_notify(3)): without systemd, nothing is said to nobody."""

import asyncio
import os
import time
from contextlib import suppress
from typing import Final

from systemd.daemon import notify

# What systemd gives a start, stop or reload on top of what we say that it may take.
MARGIN_SECONDS: Final = 30.0


class Notify:
    """What systemd is told of us. `status` is the line of `systemctl status`."""

    def __init__(self) -> None:
        self._status: str | None = None  # None while not ready

    def starting(self, status: str, seconds: float) -> None:
        """Not ready yet, and it may take that long."""
        self._send(
            f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={round((seconds + MARGIN_SECONDS) * 1e6)}"
        )

    def ready(self, status: str) -> None:
        """Started."""
        self._status = status
        self._send("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """The status line, which may have changed; nothing before and after the time in which we are ready."""
        if self._status not in {None, status}:
            self._status = status
            self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """Reading the configuration anew."""
        if self._status is not None:
            self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self, status: str) -> None:
        """Ready again."""
        if self._status is not None:
            self.ready(status)

    def stopping(self, status: str) -> None:
        """Winding up."""
        self._status = None
        self._send("STOPPING=1", f"STATUS={status}")

    async def feed_watchdog(self) -> None:
        """Say at half of the watchdog's time that the loop runs; returns at once where there is no watchdog."""
        interval = _watchdog_seconds() / 2
        while interval:
            self._send("WATCHDOG=1")
            await asyncio.sleep(interval)

    def _send(self, *lines: str) -> None:
        with suppress(OSError):  # a $NOTIFY_SOCKET that nobody listens at any more
            notify("\n".join(lines))


def _watchdog_seconds() -> float:
    """0 where it is off (sd_watchdog_enabled(3), which python3-systemd lacks)."""
    for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    given = os.environ.get("WATCHDOG_USEC", "")
    return int(given) / 1e6 if for_us and given.isdecimal() else 0.0
