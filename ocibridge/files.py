"""Reading files that somebody else has written, without being held or filled by them."""

import os
import stat
from pathlib import Path


def read_regular(path: Path, largest: int) -> bytes:
    """The content of a regular file of at most `largest` bytes.

    Opening never blocks (a FIFO would). Raises OSError, and ValueError where it is no regular file or larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(largest + 1) or b""  # None of what is regular by name alone (/proc/kmsg)
    finally:
        os.close(descriptor)
    if len(content) > largest:
        raise ValueError(f"is larger than {largest >> 20} MiB")
    return content
