# SPDX-License-Identifier: Apache-2.0
"""The journal's native protocol, with a journald that is fine, slow, stuck or absent."""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocibridge.systemd.journal_socket import MAX_VALUE_BYTES, JournalSocket


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


@pytest.fixture
def journald(path: Path) -> Iterator[socket.socket]:
    """A journald whose queue is the kernel's (net.unix.max_dgram_qlen) until it reads."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.settimeout(5)
        yield listening


@pytest.fixture
def entries(path: Path) -> Iterator[JournalSocket]:
    made = JournalSocket(str(path), max_queued=50)
    yield made
    made.end(0)


def taken(journald: socket.socket) -> list[str]:
    """The messages received so far."""
    journald.setblocking(False)
    found = []
    try:
        while True:
            found.append(journald.recv(1 << 20).decode().splitlines()[0])
    except BlockingIOError:
        return found


def test_an_entry(entries: JournalSocket, journald: socket.socket) -> None:
    entries.send((("MESSAGE", "a = b"), ("PRIORITY", 6), ("TEXT", "two\nlines"), ("EMPTY", "")))
    assert (
        journald.recv(4096)
        == b"MESSAGE=a = b\nPRIORITY=6\nTEXT\n\x09\0\0\0\0\0\0\0two\nlines\nEMPTY=\n"
    )


def test_no_text_forges_a_field(entries: JournalSocket, journald: socket.socket) -> None:
    """A value that looks like a field, or like the end of an entry, stays a value."""
    entries.send((("MESSAGE", "x\nCALLER_UID=0\n\nMESSAGE=y"), ("CALLER_UID", 1000)))
    assert (
        journald.recv(4096)
        == b"MESSAGE\n\x19\0\0\0\0\0\0\0x\nCALLER_UID=0\n\nMESSAGE=y\nCALLER_UID=1000\n"
    )


def test_what_is_too_long_is_cut(entries: JournalSocket, journald: socket.socket) -> None:
    entries.send((("MESSAGE", "x" * (1 << 20)), ("PRIORITY", 3)))
    assert journald.recv(1 << 20) == b"MESSAGE=" + b"x" * MAX_VALUE_BYTES + b"\nPRIORITY=3\n"


def test_what_is_no_text(entries: JournalSocket, journald: socket.socket) -> None:
    entries.send((("MESSAGE", "\ud800"),))
    assert journald.recv(100) == b"MESSAGE=?\n"


def test_no_journald(entries: JournalSocket, path: Path) -> None:
    """Without the socket, or without a reader behind it, only the entry is lost."""
    entries.send((("MESSAGE", "1"),))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        gone.bind(str(path))
    entries.send((("MESSAGE", "2"),))
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as back:
        back.bind(str(path))
        entries.send((("MESSAGE", "3"),))
        assert taken(back) == ["MESSAGE=3"]


async def test_a_journald_that_is_stuck(entries: JournalSocket, journald: socket.socket) -> None:
    """It blocks nobody. Later, queued entries arrive in order, and dropped ones are counted."""
    for number in range(200):
        entries.send((("MESSAGE", number),))
    heard: list[str] = []
    async with asyncio.timeout(10):
        while not any("lost" in line for line in heard):
            heard += taken(journald)
            await asyncio.sleep(0.01)
    entries.send((("MESSAGE", "last"),))
    heard += taken(journald)
    kept = len(heard) - 2
    assert kept >= 50
    assert heard[:kept] == [f"MESSAGE={number}" for number in range(kept)]
    assert heard[kept] == (
        f"MESSAGE={200 - kept} entries of this log are lost here: "
        "journald accepted none for too long"
    )
    assert heard[-1] == "MESSAGE=last"


def test_the_end_waits_a_while_for_a_journald_that_is_slow(
    entries: JournalSocket, journald: socket.socket
) -> None:
    for number in range(20):  # more than the kernel queues
        entries.send((("MESSAGE", number),))
    entries.end(0.01)
    assert 0 < len(taken(journald)) < 20


def test_no_descriptor_left(
    entries: JournalSocket, journald: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starved(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", starved)
        entries.send((("MESSAGE", "1"),))
    entries.send((("MESSAGE", "2"),))
    assert taken(journald) == ["MESSAGE=1", "MESSAGE=2"]
