# SPDX-License-Identifier: Apache-2.0
"""Sends entries to journald by its native protocol, and never blocks.

sd_journal_sendv(3) blocks while journald's queue of ten entries is full: when journald hangs, or
its disk is slow. python3-systemd calls it with Python's lock held, so a thread would not help.
The protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL
"""

import asyncio
import socket
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from ocibridge.names import IDENTIFIER

SOCKET: Final = "/run/systemd/journal/socket"
MAX_QUEUED: Final = 1024  # entries; further ones are dropped and counted
MIN_RETRY_SECONDS: Final = 0.002  # doubled after each retry that sent nothing
MAX_RETRY_SECONDS: Final = 0.1
MAX_VALUE_BYTES: Final = 48 << 10  # a datagram can hold some 200 KiB


class JournalSocket:
    """Queues entries in order, and retries while journald accepts none."""

    def __init__(self, path: str = SOCKET, max_queued: int = MAX_QUEUED) -> None:
        self._path = path
        self._max_queued = max_queued
        self._socket: socket.socket | None = None
        self._queue: deque[bytes] = deque()
        self._dropped = 0
        self._retry_seconds = MIN_RETRY_SECONDS
        self._is_retrying = False

    def send(self, fields: Iterable[tuple[str, object]]) -> None:
        """Send an entry now, or queue it. `fields`: (name, value); a name may come repeatedly."""
        if len(self._queue) >= self._max_queued:
            self._dropped += 1
        else:
            self._queue.append(_datagram(fields))
        self._flush()

    def end(self, seconds: float) -> None:
        """Flush the queue, waiting at most `seconds` for each entry, and close."""
        if self._socket is not None:
            self._socket.settimeout(seconds)
            self._flush()
            self._socket.close()
            self._socket = None

    def _flush(self) -> None:
        try:
            if self._socket is None:
                self._socket = socket.socket(
                    socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
                )
            while self._queue:
                self._send_first(self._socket)
        except OSError:  # journald accepts no more, or no file descriptor is left
            self._retry_later()

    def _send_first(self, to: socket.socket) -> None:
        try:
            to.sendto(self._queue[0], self._path)
        except (BlockingIOError, TimeoutError):
            raise
        except OSError:
            pass  # there is no journald; drop the entry
        self._queue.popleft()
        self._retry_seconds = MIN_RETRY_SECONDS
        if self._dropped and len(self._queue) < self._max_queued:
            text = (
                f"{self._dropped} entries of this log are lost here: "
                "journald accepted none for too long"
            )
            self._queue.append(
                _datagram((("MESSAGE", text), ("PRIORITY", 4), ("SYSLOG_IDENTIFIER", IDENTIFIER)))
            )
            self._dropped = 0

    def _retry_later(self) -> None:
        if not self._is_retrying:
            with suppress(RuntimeError):  # no loop is running; `send` or `end` flushes later
                asyncio.get_running_loop().call_later(self._retry_seconds, self._retry)
                self._is_retrying = True
                self._retry_seconds = min(self._retry_seconds * 2, MAX_RETRY_SECONDS)

    def _retry(self) -> None:
        self._is_retrying = False
        if self._socket is not None:
            self._flush()


def _datagram(fields: Iterable[tuple[str, object]]) -> bytes:
    return b"".join(
        _encoded(name.encode(), str(value).encode(errors="replace")[:MAX_VALUE_BYTES])
        for name, value in fields
    )


def _encoded(name: bytes, value: bytes) -> bytes:
    """A field. A value with newlines is preceded by its length."""
    if b"\n" in value:
        return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name + b"=" + value + b"\n"
