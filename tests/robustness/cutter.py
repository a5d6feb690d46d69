# SPDX-License-Identifier: Apache-2.0
"""Proxies between a daemon and the bus that close or freeze the connection after some bytes."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self


class Cutter:
    """Forwards between a client and the bus.

    Once the client has sent `limit` bytes, closes both connections.
    """

    def __init__(self, behind: str, directory: Path, limit: int) -> None:
        self._behind = behind.removeprefix("unix:path=").split(",")[0]
        self._left = limit
        path = directory / "cutter"
        self.address = f"unix:path={path}"
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(str(path))
        self._listening.listen(1)
        self._both: tuple[socket.socket, ...] = ()
        self._threads = [threading.Thread(target=self._begin)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cut(self._listening, *self._both)
        for thread in self._threads:
            thread.join()
        for each in (self._listening, *self._both):
            each.close()

    def _begin(self) -> None:
        with suppress(OSError):
            client, _ = self._listening.accept()
            bus = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._both = (client, bus)
            bus.connect(self._behind)
            back = threading.Thread(target=self._hand_back, args=(bus, client))
            self._threads.append(back)
            back.start()
            while self._left > 0 and (data := client.recv(min(65536, self._left))):
                bus.sendall(data)
                self._left -= len(data)
            self._reached()

    def _reached(self) -> None:
        self._cut(*self._both)

    def _hand_back(self, bus: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := bus.recv(65536):
                client.sendall(data)
        self._cut(client)

    @staticmethod
    def _cut(*sockets: socket.socket) -> None:
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class Freezer(Cutter):
    """Forwards nothing more, in either direction, once the client has sent `limit` bytes.

    Sets `frozen` then. Both connections stay open.
    """

    def __init__(self, behind: str, directory: Path, limit: int) -> None:
        self.frozen = threading.Event()
        super().__init__(behind, directory, limit)

    def _reached(self) -> None:
        self.frozen.set()

    def _hand_back(self, bus: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while (data := bus.recv(65536)) and not self.frozen.is_set():
                client.sendall(data)
