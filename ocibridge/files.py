# SPDX-License-Identifier: Apache-2.0
"""Reads of untrusted files: limited in size, and never blocking the event loop."""

import asyncio
import errno
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar, cast

from ocibridge.errors import LimitsExceeded


def read_regular(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file of at most `max_bytes`. Opening never blocks, as a FIFO would.

    Raises OSError, and ValueError if it is no regular file or is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            # None from files that are regular only by type, such as /proc/kmsg.
            content = file.read(max_bytes + 1) or b""
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise ValueError(f"is larger than {max_bytes >> 20} MiB")
    return content


T = TypeVar("T")

MAX_THREADS: Final = 16
# How many seconds one more read waits for a thread.
PATIENCE: Final = 5.0
# Errors that say nothing about the file: we lack descriptors or memory.
SHORTAGES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def raise_shortage(error: Exception, what: str) -> None:
    """Raise LimitsExceeded if `what` could not be read for lack of descriptors or memory."""
    if isinstance(error, OSError) and error.errno in SHORTAGES:
        text = f"{what}: cannot be read now: {error.strerror}; try again later"
        raise LimitsExceeded(text) from None


class Readers:
    """Runs blocking reads in at most `MAX_THREADS` threads. `what` they are, for errors.

    They are daemon threads of our own, since asyncio's pool would block our exit. The limit is what
    a file system, or a name service, that hangs can cost.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._places = asyncio.Semaphore(MAX_THREADS)

    async def run(self, read: Callable[[], T]) -> T:
        """What `read` returns or raises. Raises LimitsExceeded if no thread becomes free."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._places.acquire()
        except TimeoutError:
            raise LimitsExceeded(
                f"{MAX_THREADS} {self._what} hang; does a file system or name service not respond?"
            ) from None
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            threading.Thread(
                target=self._work, args=(read, answer, asyncio.get_running_loop()), daemon=True
            ).start()
        except RuntimeError as error:
            self._places.release()
            text = f"no thread can be started for {self._what} ({error}); try again later"
            raise LimitsExceeded(text) from None
        return await answer

    def _work(
        self, read: Callable[[], T], answer: "asyncio.Future[T]", loop: asyncio.AbstractEventLoop
    ) -> None:
        result, error = None, None
        try:
            result = read()
        except BaseException as failure:  # noqa: BLE001 - raised again in `run`
            error = failure
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(self._finish, answer, result, error)

    def _finish(
        self, answer: "asyncio.Future[T]", result: T | None, error: BaseException | None
    ) -> None:
        self._places.release()
        if answer.cancelled():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(cast("T", result))
