"""The bus connection driven by ourselves, through the sd-bus that python-sdbus carries.

python-sdbus processes all that has arrived before it returns to the loop, and watches the socket for output only after some
of its calls. So a flood starves every task, signal handler and timer, and signals can stay in the output queue until the
next call arrives. What the bus library answers by itself (Introspect, GetAll, GetManagedObjects) costs an answer even where
none is wanted. This file mends the three:

* a bounded number of messages is processed in one loop iteration, then everything else gets its turn;
* output that did not fit into the socket is sent as soon as it fits, whoever queued it;
* calls of the standard interfaces that want no reply are dropped, and the answers to one connection may not take more than
  half of our time.

It reaches sd-bus by ctypes: python-sdbus's shared object exports the symbols, or the libsystemd that it is linked to does.
It also reads python-sdbus's own struct (`SdBusObject` in sd_bus_internals.h of 0.14.3). `Pump.attach` checks that all of it
is as expected; where it is not, python-sdbus drives the connection as it always does (docs: SECURITY.md, Floods).
"""

import asyncio
import ctypes
import errno
import fcntl
import os
import select
import sys
import termios
import time
from collections.abc import Callable
from typing import Any, Final

from sdbus import sd_bus_internals as sd

from ocibridge.names import OBJECT_MANAGER, PROPERTIES, STANDARD_ERROR_PREFIX

# Messages and seconds of one loop iteration. Fewer messages would cost throughput, more would delay signals and timers.
TURN_MESSAGES: Final = 128
TURN_SECONDS: Final = 0.004
# What one connection may use of our time for the bus library's own answers: a share, and an advance of so many seconds.
SHARE: Final = 0.5
ADVANCE_SECONDS: Final = 0.03
# All replies of ours leave by the one socket, and dbus-daemon reads it slowly while it is busy with a flood. So with that
# much of it unread, an answer also counts by its bytes, so many a second.
MAX_BACKLOG: Final = 32 << 10
BYTES_A_SECOND: Final = 10e6
MAX_ACCOUNTS: Final = 256

INTROSPECTABLE: Final = "org.freedesktop.DBus.Introspectable"
LIMITS_EXCEEDED: Final = f"{STANDARD_ERROR_PREFIX}.LimitsExceeded".encode()
INVALID_ARGS: Final = f"{STANDARD_ERROR_PREFIX}.InvalidArgs".encode()
TOO_MANY: Final = b"too many calls of this connection at once; read the replies, then ask again"

HANDLED: Final = 1
NOT_HANDLED: Final = 0

# (path, interface, property): says why a value of a sender is refused, None if it is not.
Check = Callable[[str, str], str | None]
Handler = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
SYMBOLS: Final[dict[str, tuple[Any, list[Any]]]] = {
    "sd_bus_process": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p]),
    "sd_bus_get_events": (ctypes.c_int, [ctypes.c_void_p]),
    "sd_bus_get_fd": (ctypes.c_int, [ctypes.c_void_p]),
    "sd_bus_add_match_async": (
        ctypes.c_int,
        [
            ctypes.c_void_p,
            ctypes.POINTER(ctypes.c_void_p),
            ctypes.c_char_p,
            Handler,
            Handler,
            ctypes.c_void_p,
        ],
    ),
    "sd_bus_message_get_expect_reply": (ctypes.c_int, [ctypes.c_void_p]),
    "sd_bus_message_get_sender": (ctypes.c_char_p, [ctypes.c_void_p]),
    "sd_bus_message_get_path": (ctypes.c_char_p, [ctypes.c_void_p]),
    "sd_bus_message_has_signature": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p]),
    "sd_bus_message_read_basic": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_char, ctypes.POINTER(ctypes.c_char_p)],
    ),
    "sd_bus_message_enter_container": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_char, ctypes.c_char_p],
    ),
    "sd_bus_message_rewind": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int]),
    "sd_bus_reply_method_error": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p]),
}


class _Error(ctypes.Structure):
    """sd_bus_error."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("message", ctypes.c_char_p),
        ("need_free", ctypes.c_int),
    )


class _SdBusObject(ctypes.Structure):
    """python-sdbus's own struct, without Python's head; `watched` is the poll(2) events that it has the loop watch for."""

    _fields_ = (
        ("bus", ctypes.c_void_p),
        ("fd", ctypes.c_void_p),
        ("loop", ctypes.c_void_p),
        ("timer_fd_object", ctypes.c_void_p),
        ("watched", ctypes.c_int),
        ("timer_fd", ctypes.c_int),
    )


_drive = sd.SdBus.process  # python-sdbus's own
_pumps: dict[int, "Pump"] = {}


def _process(connection: sd.SdBus) -> None:
    """In the place of SdBus.process, which python-sdbus hands to the loop as the reader and the writer of the socket."""
    pump = _pumps.get(id(connection))
    if pump is None:
        _drive(connection)
    else:
        pump.run()


def _library() -> ctypes.PyDLL | None:
    """The shared object through which sd-bus is reached; None where it does not have all that is needed.

    PyDLL: Python's lock is held during the calls, since the callbacks are Python's, and their exceptions are raised here.
    """
    library = ctypes.PyDLL(sd.__file__)
    for name, (result, arguments) in SYMBOLS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            return None
        function.restype, function.argtypes = result, arguments
    return library


class Pump:
    """Drives one connection. Use `attach`, which checks that it can."""

    def __init__(self, connection: sd.SdBus, library: ctypes.PyDLL, struct: _SdBusObject) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._struct = struct
        self._bus = struct.bus
        self._fd = connection.get_fd()
        self._library = library
        self._sd_bus_process = library.sd_bus_process
        self._sd_bus_get_events = library.sd_bus_get_events
        self._expects_reply = library.sd_bus_message_get_expect_reply
        self._is_scheduled = False
        self._budgets = Budgets(time.perf_counter)
        self._paying = b""  # the sender whose call the bus library is answering now
        self._backlog_before = 0
        self._checks: dict[tuple[str, str, str], Check] = {}
        self._dropped: set[tuple[str, str]] = set()
        self._kept: list[object] = []  # what sd-bus holds pointers to

    @classmethod
    def attach(cls, connection: sd.SdBus) -> "Pump | None":
        """Take the connection over, once python-sdbus has bound it to the running loop; None where that cannot be done."""
        if sd.SdBus.__basicsize__ != object.__basicsize__ + ctypes.sizeof(_SdBusObject):
            return None
        struct = _SdBusObject.from_address(id(connection) + object.__basicsize__)
        library = _library()
        if library is None or struct.loop != id(asyncio.get_running_loop()):
            return None
        if library.sd_bus_get_fd(struct.bus) != connection.get_fd():
            return None
        pump = _pumps[id(connection)] = cls(connection, library, struct)
        pump._guard()
        return pump

    def detach(self) -> None:
        """The connection is about to be closed."""
        _pumps.pop(id(self._connection), None)

    def check_writes(self, path: str, interface: str, name: str, check: Check) -> None:
        """Have `check` judge values (strings) written to that property: python-sdbus could refuse one without a text only."""
        self._checks[path, interface, name] = check

    def run(self) -> None:
        """Process what has arrived, as much as one loop iteration may take, and send what waits."""
        until = time.perf_counter() + TURN_SECONDS
        for _ in range(TURN_MESSAGES):
            began = time.perf_counter()
            if began > until:
                break
            result = self._sd_bus_process(self._bus, None)
            if self._paying:
                self._charge(time.perf_counter() - began)
            if result <= 0:
                self.watch()
                if result not in {0, -errno.ECONNRESET, -errno.ENOTCONN}:
                    raise OSError(-result, os.strerror(-result))
                return
        self.watch()
        self._schedule()

    def _charge(self, seconds: float) -> None:
        """The bus library has answered a call, and has taken so long."""
        if self._backlog_before > MAX_BACKLOG:
            seconds += max(0, self._backlog() - self._backlog_before) / BYTES_A_SECOND
        self._budgets.charge(self._paying, seconds)
        self._paying = b""

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_scheduled = False
        if id(self._connection) in _pumps:
            self.run()

    def watch(self) -> None:
        """Have the loop watch the socket for what sd-bus waits for now; to be called after each message that is sent."""
        events = self._sd_bus_get_events(self._bus)
        if (
            events == 0
        ):  # sd-bus has work that no socket event tells of: messages that it has read, or a connection that broke
            self._schedule()
        events = max(0, events)  # negative: closed
        if events == self._struct.watched:
            return
        self._struct.watched = events
        if events & select.POLLIN:
            self._loop.add_reader(self._fd, self._connection.process)
        else:
            self._loop.remove_reader(self._fd)
        if events & select.POLLOUT:
            self._loop.add_writer(self._fd, self._connection.process)
        else:
            self._loop.remove_writer(self._fd)

    # What the bus library answers by itself.

    def drop_unwanted(self, interface: str, member: str) -> None:
        """Calls of that member of ours change nothing: those that want no reply are dropped before they cost anything."""
        if (interface, member) not in self._dropped:  # one rule for all objects that have it
            self._dropped.add((interface, member))
            self._intercept(interface, member, self._unwanted)

    def _guard(self) -> None:
        """See such calls before sd-bus does."""
        self._intercept(INTROSPECTABLE, None, self._called)
        self._intercept(OBJECT_MANAGER, None, self._called)
        self._intercept(PROPERTIES, "Get", self._called)
        self._intercept(PROPERTIES, "GetAll", self._called)
        self._intercept(PROPERTIES, "Set", self._set_called)

    def _intercept(
        self, interface: str, member: str | None, handler: Callable[[int, int, int], int]
    ) -> None:
        """Have `handler` decide on calls of that member, or of all members of the interface.

        The bus itself matches nothing by the rule: calls are no broadcasts. Where the bus refuses it, it holds here all the
        same; the second function takes its answer, since sd-bus would close the connection.
        """
        called, answered = Handler(handler), Handler(lambda _message, _data, _error: HANDLED)
        slot = ctypes.c_void_p()
        rule = f"type='method_call',interface='{interface}'" + (
            f",member='{member}'" if member else ""
        )
        self._library.sd_bus_add_match_async(
            self._bus, ctypes.byref(slot), rule.encode(), called, answered, None
        )
        self._kept += [slot, called, answered]

    def _unwanted(self, message: int, _data: int, _error: int) -> int:
        return NOT_HANDLED if self._expects_reply(message) else HANDLED

    def _called(self, message: int, _data: int, _error: int) -> int:
        """A call that the bus library answers."""
        if not self._expects_reply(message):
            return HANDLED
        sender: bytes = self._library.sd_bus_message_get_sender(message) or b""
        if self._budgets.is_spent(sender):
            return self._refuse(message, LIMITS_EXCEEDED, TOO_MANY)
        self._paying, self._backlog_before = sender, self._backlog()
        return NOT_HANDLED

    def _backlog(self) -> int:
        """Bytes that we have sent and the bus has not read."""
        return int.from_bytes(fcntl.ioctl(self._fd, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def _set_called(self, message: int, _data: int, _error: int) -> int:
        reason = self._reason_against(message)
        return (
            NOT_HANDLED if reason is None else self._refuse(message, INVALID_ARGS, reason.encode())
        )

    def _reason_against(self, message: int) -> str | None:
        """Why the value of a call of Set is refused; None where sd-bus is to decide."""
        library, text = self._library, ctypes.c_char_p()
        if not self._checks or library.sd_bus_message_has_signature(message, b"ssv") <= 0:
            return None
        words: list[str] = []
        for kind in "ssv":
            if kind == "v" and library.sd_bus_message_enter_container(message, b"v", b"s") <= 0:
                break
            library.sd_bus_message_read_basic(message, b"s", ctypes.byref(text))
            words.append((text.value or b"").decode())
        library.sd_bus_message_rewind(message, 1)
        check = self._checks.get((library.sd_bus_message_get_path(message).decode(), *words[:2]))
        if check is None or len(words) < len("ssv"):
            return None
        return check(words[2], (library.sd_bus_message_get_sender(message) or b"").decode())

    def _refuse(self, message: int, name: bytes, text: bytes) -> int:
        self._library.sd_bus_reply_method_error(message, ctypes.byref(_Error(name, text, 0)))
        return HANDLED


class Budgets:
    """How much of our time each connection has used: a token bucket each, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._spent: dict[bytes, tuple[float, float]] = {}  # seconds spent, as of when

    def is_spent(self, sender: bytes) -> bool:
        """Whether that connection has used more than its share, and the advance as well."""
        return sender in self._spent and self._debt(sender) > ADVANCE_SECONDS

    def charge(self, sender: bytes, seconds: float) -> None:
        """So much has been spent on it."""
        self._spent[sender] = self._debt(sender) + seconds, self._now()
        if len(self._spent) > MAX_ACCOUNTS:
            self._spent.pop(next(iter(self._spent)))

    def _debt(self, sender: bytes) -> float:
        spent, at = self._spent.get(sender, (0.0, self._now()))
        return max(0.0, spent - (self._now() - at) * SHARE)


sd.SdBus.process = _process  # type: ignore[assignment] # python-sdbus looks it up by name, each time
