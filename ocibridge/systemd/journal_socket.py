"""Entries on their way to journald, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), without ever waiting for it.

sd_journal_sendv(3) blocks while journald's queue of ten entries is full: where journald hangs, or its disk is slow. And
python3-systemd calls it with Python's lock held, so that a thread would not help.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from ocibridge.names import IDENTIFIER

SOCKET: Final = "/run/systemd/journal/socket"
MAX_WAITING: Final = 1024  # entries; what comes beyond them is lost, and counted
FIRST_RETRY: Final = 0.002  # seconds; doubled each time that journald has taken nothing meanwhile
LAST_RETRY: Final = 0.1
MAX_VALUE_BYTES: Final = 48 << 10  # bytes; a datagram holds some 200 KiB


class JournalSocket:
    """Keeps the order; what journald does not take at once is tried again."""

    def __init__(self, path: str = SOCKET, most: int = MAX_WAITING) -> None:
        self._path = path
        self._most = most
        self._socket: socket.socket | None = None
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._retry_seconds = FIRST_RETRY
        self._is_retrying = False

    def send(self, fields: Iterable[tuple[str, object]]) -> None:
        """Have an entry sent; never blocks."""
        if len(self._waiting) >= self._most:
            self._lost += 1
        else:
            self._waiting.append(_datagram(fields))
        self._flush()

    def end(self, seconds: float) -> None:
        """Send what still waits, if journald takes it within `seconds`, and close."""
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
            while self._waiting:
                self._send_first(self._socket)
        except OSError:  # it takes no more, or we are short of descriptors
            self._retry_later()

    def _send_first(self, to: socket.socket) -> None:
        try:
            to.sendto(self._waiting[0], self._path)
        except (BlockingIOError, TimeoutError):
            raise
        except OSError:
            pass  # without a journal there is nobody to tell
        self._waiting.popleft()
        self._retry_seconds = FIRST_RETRY
        if self._lost and len(self._waiting) < self._most:
            told = f"{self._lost} entries of this log are lost here: journald has taken none for too long"
            self._waiting.append(
                _datagram((("MESSAGE", told), ("PRIORITY", 4), ("SYSLOG_IDENTIFIER", IDENTIFIER)))
            )
            self._lost = 0

    def _retry_later(self) -> None:
        if not self._is_retrying:
            with suppress(RuntimeError):  # no loop runs: then with the next entry, or at the end
                asyncio.get_running_loop().call_later(self._retry_seconds, self._retry)
                self._is_retrying = True
                self._retry_seconds = min(self._retry_seconds * 2, LAST_RETRY)

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
    """A value of more than one line says how long it is."""
    if b"\n" in value:
        return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name + b"=" + value + b"\n"
