# SPDX-License-Identifier: Apache-2.0
"""Drives the bus connection in place of python-sdbus (docs/sdbus.md, Driving the connection).

python-sdbus processes everything that has arrived before it returns to the loop, so a flood starves
tasks, timers and signal handlers. It has the loop watch for output only after some of its calls, so
output can get stuck. What the bus library answers by itself (Introspect, GetAll, GetManagedObjects)
costs many times what asking costs. So here:

* a bounded number of messages is processed in one loop iteration;
* output that did not fit into the socket is sent as soon as it fits;
* calls of the standard interfaces that want no reply are dropped, and the answers to one connection
  may take at most half of our time.

Where sd-bus cannot be reached (sd_bus.py), python-sdbus drives the connection as it always does.
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
from contextlib import suppress
from typing import Final

from sdbus import sd_bus_internals as sd

from ocibridge.bus import sd_bus
from ocibridge.bus.budgets import MAX_ACCOUNTS, Budgets
from ocibridge.bus.interface import Check
from ocibridge.bus.sd_bus import HANDLED, NOT_HANDLED
from ocibridge.errors import BridgeError
from ocibridge.names import OBJECT_MANAGER, PROPERTIES, STANDARD_ERROR_PREFIX

# Bounds of one loop iteration. Fewer messages cost throughput; more delay signals and timers.
TURN_MESSAGES: Final = 128
TURN_SECONDS: Final = 0.004
# How many messages are processed between two looks at the clock, unless the bus library answers.
CLOCK_MESSAGES: Final = 16
# What the bus library's answers to one connection may cost (seconds) before they are refused.
ADVANCE_SECONDS: Final = 0.03
# All replies leave by one socket, which dbus-daemon reads slowly during a flood. If more than this
# is unread (bytes), an answer is also charged for its size, at this rate, and the advance is less.
MAX_BACKLOG: Final = 32 << 10
BYTES_A_SECOND: Final = 10e6
BACKLOG_ADVANCE_SECONDS: Final = 0.01
# More than this (bytes) delays whoever calls next, so it counts even if nobody else has called.
# Less than the send buffer of a daemon that is not root (212,992 on a stock kernel).
MAX_LONE_BACKLOG: Final = 192 << 10
# How long (seconds) after a message of anybody else the input counts as contended.
CONTENDED_SECONDS: Final = 0.1

INTROSPECTABLE: Final = "org.freedesktop.DBus.Introspectable"
LIMITS_EXCEEDED: Final = f"{STANDARD_ERROR_PREFIX}.LimitsExceeded".encode()
ANY_CAPABILITY: Final = -1  # the sender's user alone counts
TOO_MANY: Final = b"too many calls of this connection at once; read the replies, then ask again"

_process_of_sdbus = sd.SdBus.process
_pumps: dict[int, "Pump"] = {}


def _process(connection: sd.SdBus) -> None:
    """Replaces SdBus.process, which python-sdbus registers as reader and writer of the socket."""
    pump = _pumps.get(id(connection))
    if pump is None:
        _process_of_sdbus(connection)
    else:
        pump.run()


class Pump:
    """Drives one connection. Made by `attach`."""

    def __init__(
        self, connection: sd.SdBus, library: ctypes.PyDLL, struct: sd_bus.ConnectionStruct
    ) -> None:
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
        self._charged = b""  # sender of the call that the bus library is answering now
        self._charged_at = 0.0
        self._backlog_before = 0
        self._contended_until = 0.0
        self._drained = 0  # how often the input was empty
        self._drained_before: dict[bytes, int] = {}  # by sender, at its last answer
        self._checks: dict[tuple[str, str, str], Check] = {}
        self._dropped: set[tuple[str, str]] = set()
        self._kept: list[object] = []  # sd-bus holds pointers to these

    @classmethod
    def attach(cls, connection: sd.SdBus) -> "Pump | None":
        """Take over a connection that python-sdbus has bound to the running loop.

        None if sd-bus cannot be reached, or the connection's struct is not as expected.
        """
        library = sd_bus.library()
        if library is None:
            return None
        struct = sd_bus.struct_of(connection)
        if struct.loop != id(asyncio.get_running_loop()):
            return None
        if library.sd_bus_get_fd(struct.bus) != connection.get_fd():
            return None
        pump = _pumps[id(connection)] = cls(connection, library, struct)
        pump._guard()
        return pump

    def detach(self) -> None:
        """Stop driving, before the connection is closed and its descriptor invalid."""
        _pumps.pop(id(self._connection), None)
        self._watch(0)

    def check_writes(self, path: str, interface: str, name: str, check: Check) -> None:
        """Refuse values that `check` refuses for that property, with its text.

        The property is a string. sd-bus itself refuses writers without right, and python-sdbus can
        refuse a value, but neither says why.
        """
        self._checks[path, interface, name] = check

    def run(self) -> None:
        """Process one turn of what has arrived, and send pending output."""
        now = time.perf_counter()
        until = now + TURN_SECONDS
        result = 1
        try:
            for number in range(1, TURN_MESSAGES + 1):
                result = self._sd_bus_process(self._bus, None)
                if result <= 0:
                    self._drained += result == 0
                    break
                if self._charged:
                    now = time.perf_counter()
                    self._charge(now - self._charged_at)
                else:
                    self._contended_until = now + CONTENDED_SECONDS
                    if number % CLOCK_MESSAGES == 0:
                        now = time.perf_counter()
                if now > until:
                    break
        finally:  # an exception of a property's getter passes through sd_bus_process
            self._charged = b""
            self.update_watchers()
        if result > 0:
            self._schedule_turn()
        elif result not in {0, -errno.ECONNRESET, -errno.ENOTCONN}:
            raise OSError(-result, os.strerror(-result))

    def _charge(self, seconds: float) -> None:
        """Charge the bus library's answer to the sender."""
        if self._backlog_before > MAX_BACKLOG:
            seconds += max(0, self._backlog() - self._backlog_before) / BYTES_A_SECOND
        self._budgets.charge(self._charged, seconds)
        self._drained_before[self._charged] = self._drained
        if len(self._drained_before) > MAX_ACCOUNTS:
            self._drained_before.pop(next(iter(self._drained_before)))
        self._charged = b""

    def _schedule_turn(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._run_scheduled)

    def _run_scheduled(self) -> None:
        self._is_scheduled = False
        if id(self._connection) in _pumps:
            self.run()

    def update_watchers(self) -> None:
        """Have the loop watch the socket for what sd-bus wants now. Call it after each send."""
        events = self._sd_bus_get_events(self._bus)
        if events > 0:
            if events != self._struct.watched:
                self._watch(events)
            return
        if events == 0:  # there is work that no event of the socket will announce
            self._schedule_turn()
        if self._struct.watched:
            with suppress(OSError):  # if closed, the descriptor may be invalid already
                self._watch(0)

    def _watch(self, events: int) -> None:
        """Have the loop watch the socket for these events (poll(2))."""
        self._struct.watched = events
        if events & select.POLLOUT:
            self._loop.add_writer(self._fd, self._connection.process)
        else:
            self._loop.remove_writer(self._fd)
        if events & select.POLLIN:
            self._loop.add_reader(self._fd, self._connection.process)
        else:
            self._loop.remove_reader(self._fd)

    # Calls that the bus library answers by itself.

    def drop_unwanted(self, interface: str, member: str) -> None:
        """Drop calls of that read-only member that want no reply, before they cost anything."""
        if (interface, member) not in self._dropped:  # one rule serves all objects
            self._dropped.add((interface, member))
            self._intercept(interface, member, self._drop_if_unwanted)

    def _guard(self) -> None:
        """Intercept calls of the standard interfaces before sd-bus answers them."""
        self._intercept(INTROSPECTABLE, None, self._admit)
        self._intercept(OBJECT_MANAGER, None, self._admit)
        self._intercept(PROPERTIES, "Get", self._admit)
        self._intercept(PROPERTIES, "GetAll", self._admit)
        self._intercept(PROPERTIES, "Set", self._check_set)

    def _intercept(
        self, interface: str, member: str | None, handler: Callable[[int, int, int], int]
    ) -> None:
        """Have `handler` see calls of that member first, or of all members of the interface.

        sd-bus applies the match rule to what arrives. At the bus it matches nothing, since calls
        are not broadcast. Without `on_added`, sd-bus would close the connection if the bus refused
        the rule.
        """
        on_call = sd_bus.Handler(handler)
        on_added = sd_bus.Handler(lambda _message, _data, _error: HANDLED)
        slot = ctypes.c_void_p()
        rule = f"type='method_call',interface='{interface}'"
        if member:
            rule += f",member='{member}'"
        self._library.sd_bus_add_match_async(
            self._bus, ctypes.byref(slot), rule.encode(), on_call, on_added, None
        )
        self._kept += [slot, on_call, on_added]

    def _drop_if_unwanted(self, message: int, _data: int, _error: int) -> int:
        return NOT_HANDLED if self._expects_reply(message) else HANDLED

    def _admit(self, message: int, _data: int, _error: int) -> int:
        """Let the bus library answer the call if its sender has time left."""
        if not self._expects_reply(message):
            return HANDLED
        return NOT_HANDLED if self._may_take_time(message) else self._refuse_too_many(message)

    def _may_take_time(self, message: int) -> bool:
        """Whether the sender has time left; then what follows is charged to it.

        A sender is only refused if it delays others: somebody else has called lately, and the bus
        has not read our replies yet, or there was input ever since the sender's last answer.
        """
        sender: bytes = self._library.sd_bus_message_get_sender(message) or b""
        backlog = self._backlog()
        is_behind = backlog > MAX_BACKLOG or self._drained_before.get(sender) == self._drained
        now = time.perf_counter()
        is_contended = now < self._contended_until
        if (is_behind and is_contended) or backlog > MAX_LONE_BACKLOG:
            advance = BACKLOG_ADVANCE_SECONDS if backlog > MAX_BACKLOG else ADVANCE_SECONDS
            if self._budgets.is_spent(sender, advance):
                return False
        self._charged, self._charged_at, self._backlog_before = sender, now, backlog
        return True

    def _backlog(self) -> int:
        """Bytes that we have sent and the bus has not read yet."""
        return int.from_bytes(fcntl.ioctl(self._fd, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def _check_set(self, message: int, _data: int, _error: int) -> int:
        if not self._may_take_time(message):
            return self._refuse_too_many(message)
        refusal = self._set_problem(message)
        if refusal is None:
            return NOT_HANDLED
        return self._refuse(message, refusal.dbus_name.encode(), refusal.text.encode())

    def _set_problem(self, message: int) -> BridgeError | None:
        """Why a call of Properties.Set is refused; None if sd-bus shall handle it."""
        library, text = self._library, ctypes.c_char_p()
        path = library.sd_bus_message_get_path(message).decode()
        if all(path != checked for checked, _, _ in self._checks):
            return None
        if library.sd_bus_message_has_signature(message, b"ssv") <= 0:
            return None
        words: list[str] = []
        for kind in "ssv":
            if kind == "v" and library.sd_bus_message_enter_container(message, b"v", b"s") <= 0:
                break
            library.sd_bus_message_read_basic(message, b"s", ctypes.byref(text))
            words.append((text.value or b"").decode())
        library.sd_bus_message_rewind(message, 1)
        check = self._checks.get((path, *words[:2]))
        if check is None or len(words) < len("ssv"):
            return None
        # A session bus is trusted. Otherwise sd-bus asks the bus who the sender is, and waits for
        # the answer; writes are rare.
        may_write = (
            library.sd_bus_is_trusted(self._bus) > 0
            or library.sd_bus_query_sender_privilege(message, ANY_CAPABILITY) > 0
        )
        sender = library.sd_bus_message_get_sender(message) or b""
        return check(words[2], sender.decode(), may_write)

    def _refuse_too_many(self, message: int) -> int:
        if self._expects_reply(message):
            return self._refuse(message, LIMITS_EXCEEDED, TOO_MANY)
        return HANDLED

    def _refuse(self, message: int, name: bytes, text: bytes) -> int:
        self._library.sd_bus_reply_method_error(message, ctypes.byref(sd_bus.Error(name, text, 0)))
        return HANDLED


# python-sdbus looks the method up by name each time that it registers it.
sd.SdBus.process = _process  # type: ignore[assignment]
