# SPDX-License-Identifier: Apache-2.0
"""Output that the bus does not take: our socket buffer is full, or a listener does not read."""

import ctypes
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message, MessageType, Variant

from ocibridge.systemd.message_ids import MessageId
from tests.fake_dobby.observer import Observer
from tests.fake_dobby.processes import Process, fake_dobby, ocibridge, private_bus, until_owned
from tests.robustness.conftest import Victim, start_by_others, unit_environment
from tests.robustness.liar import Liar
from tests.robustness.wire import OURS, Wire

# For a buffer of 212992 bytes, a stock kernel's default (socket(7), wmem_max): setsockopt(2)
# doubles the value. As root, or with a larger wmem_max, the buffer has up to 16 MiB and never fills
# up here.
SMALL_BUFFER = 212992 // 2
CONTAINERS = 500
BOUND = 60.0
PIDFD_GETFD = 438  # pidfd_getfd(2), which Python does not wrap


def sockets_of(pid: int) -> Iterator[socket.socket]:
    """The connected Unix stream sockets of a process. Each is closed before the next."""
    process = os.pidfd_open(pid)
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                if str(entry.readlink()).startswith("socket:"):
                    descriptor = ctypes.CDLL(None, use_errno=True).syscall(
                        PIDFD_GETFD, process, int(entry.name), 0
                    )
                    assert descriptor >= 0, os.strerror(ctypes.get_errno())
                    with socket.socket(fileno=descriptor) as found:
                        if found.family == socket.AF_UNIX and found.type == socket.SOCK_STREAM:
                            yield found
    finally:
        os.close(process)


def shrink_send_buffer(pid: int, address: str) -> None:
    """Give that process's connection to the bus a small send buffer, from outside."""
    path = address.removeprefix("unix:path=").split(",")[0]
    shrunk = 0
    for each in sockets_of(pid):
        with suppress(OSError):
            if each.getpeername() == path:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
                assert each.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * SMALL_BUFFER
                shrunk += 1
    assert shrunk == 1


def plain(value: Any) -> Any:
    """The value as python-sdbus, and therefore the observer, represents it."""
    if isinstance(value, Variant):
        return value.signature, plain(value.value)
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


class Listener:
    """Receives our signals, and makes no calls."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.observer = Observer()
        self.heard = 0
        self.ended: list[int] = []
        wire.ask_bus("AddMatch", "s", f"type='signal',sender='{OURS}'")

    def until(self, *, living: int) -> bool:
        """Until it knows that many containers.

        Returns false if no signal came for wire.BOUND seconds before that.
        """
        try:
            while len(self.observer.objects) != living:
                message = self._wire.next()
                if (
                    message.message_type is MessageType.SIGNAL
                    and message.sender != "org.freedesktop.DBus"
                ):
                    self.heard += 1
                    if message.member == "onContainerStopped":
                        self.ended.append(message.body[0])
                    where = (str(message.path), str(message.interface), str(message.member))
                    self.observer.heard(*where, tuple(map(plain, message.body)))
        except TimeoutError:
            return False
        return True


def test_every_end_is_heard_through_a_small_buffer(tmp_path: Path) -> None:
    """Dobby dies with 500 containers.

    A listener receives each end although no call wakes us.
    """
    with ExitStack() as stack:
        address = stack.enter_context(private_bus("system"))
        listener = Listener(stack.enter_context(Wire(address)))
        log = stack.enter_context((tmp_path / "log").open("wb"))
        environment = {"RUNTIME_DIRECTORY": str(tmp_path)} | unit_environment()
        bridge = stack.enter_context(ocibridge(address, environment=environment, stderr=log))
        until_owned(address)
        dobby = stack.enter_context(fake_dobby(address, tmp_path))
        until_owned(address, "org.rdk.dobby")
        start_by_others(Victim(address, bridge, tmp_path / "log", "reply"), CONTAINERS)
        assert listener.until(living=CONTAINERS)
        shrink_send_buffer(bridge.child.pid, address)
        dobby.kill()
        complete = listener.until(living=0)
        observer = listener.observer
        print(f"heard {observer.ended} of {CONTAINERS} ends")
        assert (complete, observer.ended, len(set(listener.ended))) == (
            True,
            CONTAINERS,
            CONTAINERS,
        )
        assert observer.complaints == []
        assert (observer.properties["DobbyStatus"], observer.properties["ContainerCount"]) == (
            "absent",
            0,
        )
        assert bridge.end() == 0


QUOTA = 1_000_000  # max_incoming_bytes of dbus-daemon(1); a stock system bus has 127 MiB
RUNS = 3000  # containers whose signals exceed the quota
# Entries that are fine besides the expected one.
USUAL = {
    MessageId.CONTAINER_FAILED,
    MessageId.CONTAINER_RESTARTED,
    MessageId.DOBBY_LOST,
    MessageId.DOBBY_READY,
    MessageId.DOBBY_STALLED,
    MessageId.DOBBY_UNREADABLE,
}

# The daemon, with its journal at another socket.
WITH_JOURNAL = """
import sys
from ocibridge import __main__ as entry
from ocibridge.systemd import journal_socket
_, *others = journal_socket.JournalSocket.__init__.__defaults__
journal_socket.JournalSocket.__init__.__defaults__ = (sys.argv.pop(1), *others)
sys.exit(entry.main())
"""


class Journald:
    """Receives journal entries inside its `with` block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._take)

    def __enter__(self) -> "Journald":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join()
        self._socket.close()

    def _take(self) -> None:
        while entry := self._socket.recv(1 << 18):
            self.entries.append(entry.decode())

    def message_ids(self) -> list[str]:
        """The MESSAGE_IDs of the entries so far, in order."""
        return [
            line.removeprefix("MESSAGE_ID=")
            for entry in self.entries
            for line in entry.splitlines()
            if line.startswith("MESSAGE_ID=")
        ]


def run_containers(liar: Liar, count: int) -> None:
    """Starts and ends of that many containers."""
    for number in range(count):
        liar.signal("Started", "is", 1 + number % 1000, f"c{number}")
        liar.signal("StoppedWithStatus", "isi", 1 + number % 1000, f"c{number}", 0)
        liar.signal("Stopped", "is", 1 + number % 1000, f"c{number}")


def empty(call: Message) -> Message | None:
    """The replies of a Dobby without containers."""
    answers: dict[str, tuple[str, list[Any]]] = {
        "List": ("aias", [[], []]),
        "GetState": ("i", [0]),
        "Ping": ("", []),
    }
    signature, body = answers.get(str(call.member), ("b", [False]))
    return Message.new_method_return(call, signature, body)


def jammed(address: str, directory: Path, journal: Path) -> int | None:
    """The exit code of a daemon whose output the bus stopped reading. None if it keeps running."""
    with ExitStack() as stack:
        silent = stack.enter_context(Wire(address))
        silent.ask_bus("AddMatch", "s", f"type='signal',sender='{OURS}'")
        liar = stack.enter_context(Liar(address, empty))
        log = stack.enter_context((directory / "log").open("wb"))
        status = os.fstat(log.fileno())
        environment = {
            "RUNTIME_DIRECTORY": str(directory),
            "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}",
        } | unit_environment()
        environment |= {"WATCHDOG_USEC": "30000000"}  # as in the unit
        arguments = [sys.executable, "-c", WITH_JOURNAL, str(journal), "--bus", address]
        bridge = stack.enter_context(Process(arguments, environment, stderr=log))
        until_owned(address)
        honest = stack.enter_context(Wire(address))
        assert honest.is_served()
        run_containers(liar, RUNS)
        try:
            return bridge.child.wait(BOUND)
        except subprocess.TimeoutExpired:
            honest.socket.settimeout(2)
            with suppress(TimeoutError):
                print(f"it goes on, and a call ends with {honest.outcome('listContainers')}")
                return None
            print("it goes on, and answers nobody")
            return None


@pytest.mark.timeout(180)
def test_a_bus_that_reads_from_us_no_longer(tmp_path: Path) -> None:
    """A listener does not read, its backlog is charged to us, and the bus stops reading from us.

    Only a new connection helps. The daemon logs one entry with its own MESSAGE_ID and exits with
    69, after which systemd restarts it.
    """
    with private_bus("system", {"max_incoming_bytes": QUOTA}) as address:
        with Journald(tmp_path / "journald") as journald:
            code = jammed(address, tmp_path, journald.path)
        assert code == os.EX_UNAVAILABLE
        (message_id,) = [each for each in journald.message_ids() if each not in USUAL]
        assert message_id not in {MessageId.BUS_LOST, MessageId.NAME_TAKEN, MessageId.BUG}
        with Wire(address) as honest:
            until = time.monotonic() + BOUND
            while honest.ask_bus(
                "NameHasOwner", "s", OURS
            ):  # the bus notices late that a connection it does not read was closed
                assert time.monotonic() < until
        with (
            ocibridge(address, environment={"RUNTIME_DIRECTORY": str(tmp_path)}),
            Wire(address) as honest,
        ):
            until_owned(address)
            assert (
                honest.outcome("listContainers") == "org.rdk.OCIContainer1.Error.DobbyUnavailable"
            )
