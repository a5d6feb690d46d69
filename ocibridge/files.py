"""Reading files that somebody else has written, without being held or filled by them."""

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


def read_regular(path: Path, largest: int) -> bytes:
    """The content of a regular file of at most `largest` bytes.

    Opening never blocks (a FIFO would). Raises OSError, and ValueError where it is no regular file or larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = (
                file.read(largest + 1) or b""
            )  # None of what is regular by name alone (/proc/kmsg)
    finally:
        os.close(descriptor)
    if len(content) > largest:
        raise ValueError(f"is larger than {largest >> 20} MiB")
    return content


T = TypeVar("T")

MAX_THREADS: Final = 16
# Seconds that one more waits for a place.
PATIENCE: Final = 5.0
# Being short of something ourselves does not mean that a file is out of our sight.
SHORTAGES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def raise_shortage(error: Exception, what: str) -> None:
    """Raise LimitsExceeded where `what` could not be read for lack of descriptors or memory; return where it was something else."""
    if isinstance(error, OSError) and error.errno in SHORTAGES:
        raise LimitsExceeded(
            f"{what}: cannot be read now: {error.strerror}; try again later"
        ) from None


class Readers:
    """At most `MOST` threads."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MAX_THREADS)

    async def run(self, read: Callable[[], T]) -> T:
        """What `read` returns or raises. Raises LimitsExceeded where no thread is to be had."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._places.acquire()
        except TimeoutError:
            raise LimitsExceeded(
                f"{MAX_THREADS} reads of bundles and specs hang; does a file system not answer?"
            ) from None
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            threading.Thread(
                target=self._work, args=(read, answer, asyncio.get_running_loop()), daemon=True
            ).start()
        except RuntimeError as error:
            self._places.release()
            raise LimitsExceeded(
                f"no thread is left to read files in ({error}); try again later"
            ) from None
        return await answer

    def _work(
        self, read: Callable[[], T], answer: "asyncio.Future[T]", loop: asyncio.AbstractEventLoop
    ) -> None:
        result, error = None, None
        try:
            result = read()
        except BaseException as failure:  # noqa: BLE001 - it is raised again where the answer is awaited
            error = failure
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(self._tell, answer, result, error)

    def _tell(
        self, answer: "asyncio.Future[T]", result: T | None, error: BaseException | None
    ) -> None:
        self._places.release()
        if answer.cancelled():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(cast("T", result))
