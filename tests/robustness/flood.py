# SPDX-License-Identifier: Apache-2.0
"""Floods: one message, sent to the bus as fast as it takes it, from one caller who reads nothing.

By hand, beside a running ocibridge: python -m tests.robustness.flood ADDRESS KIND SECONDS
[DESTINATION]

KIND is one of CALLS or SIGNALS. "KIND/unread": the calls want replies, which are never read. Prints
"flooding" once the first messages are sent, and one line of JSON with the totals at the end.
"""

import json
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Any, Final

from dbus_fast import Message, MessageFlag, MessageType

from tests.robustness.wire import DRIVER, INTERFACE, OURS, PATH, Wire

STANDARD: Final = "org.freedesktop.DBus."
# What every local user may call, by the bus policy: interface, member, signature, body.
CALLS: Final[dict[str, tuple[str, str, str, tuple[Any, ...]]]] = {
    "GetManagedObjects": (f"{STANDARD}ObjectManager", "GetManagedObjects", "", ()),
    "Introspect": (f"{STANDARD}Introspectable", "Introspect", "", ()),
    "GetAll": (f"{STANDARD}Properties", "GetAll", "s", (INTERFACE,)),
    # The same for a container, which has more properties.
    "GetAllOfContainer": (f"{STANDARD}Properties", "GetAll", "s", (f"{INTERFACE}.Container",)),
    "Get": (f"{STANDARD}Properties", "Get", "ss", (INTERFACE, "ContainerCount")),
    # An unknown member that the policy allows.
    "unknown": (f"{STANDARD}Introspectable", "Nothing", "", ()),
    "listContainers": (INTERFACE, "listContainers", "", ()),
    "getContainerState": (INTERFACE, "getContainerState", "s", ("c0",)),
    "waitForState": (INTERFACE, "waitForState", "sst", ("never", "Running", 0)),
}
NAME_OWNER_CHANGED: Final = (DRIVER, "/org/freedesktop/DBus", "NameOwnerChanged")
DOBBY: Final = "org.rdk.dobby"
# Forged, and unicast to one connection: interface, path, member, signature, body.
SIGNALS: Final[dict[str, tuple[str, str, str, str, tuple[Any, ...]]]] = {
    "owner-wrong": (*NAME_OWNER_CHANGED, "u", (7,)),
    "owner-empty": (*NAME_OWNER_CHANGED, "", ()),
    "owner-right": (*NAME_OWNER_CHANGED, "sss", (DOBBY, ":1.1", "")),
    "started-wrong": (f"{DOBBY}.ctrl1", "/org/rdk/dobby", "Started", "as", (["x"],)),
    "started-right": (f"{DOBBY}.ctrl1", "/org/rdk/dobby", "Started", "is", (7, "ghost")),
}
UNREAD: Final = "/unread"
# messages with different serials; more than the pending replies a bus allows a connection
BLOCK: Final = 256
SERIAL_OFFSET: Final = 8


def message_of(kind: str, to: str) -> Message:
    """One message of that flood."""
    word = kind.removesuffix(UNREAD)
    if word in SIGNALS:
        interface, path, member, signature, body = SIGNALS[word]
        return Message(
            message_type=MessageType.SIGNAL, destination=to, path=path, interface=interface,
            member=member,
            signature=signature, body=list(body),
        )  # fmt: skip
    interface, member, signature, body = CALLS[word]
    path = f"{PATH}/container/c0" if word == "GetAllOfContainer" else PATH
    call = Message(
        destination=to,
        path=path,
        interface=interface,
        member=member,
        signature=signature,
        body=list(body),
    )
    # Without NO_AUTOSTART the bus would start the service again after it was stopped.
    call.flags = MessageFlag.NO_AUTOSTART | (
        MessageFlag.NONE if kind.endswith(UNREAD) else MessageFlag.NO_REPLY_EXPECTED
    )
    return call


class Flood:
    """One flood, from one connection at a time. Connects again when the bus disconnects it."""

    def __init__(self, address: str, kind: str, to: str = OURS) -> None:
        message = message_of(kind, to)
        message.serial = 1
        raw = bytes(message._marshall(False))
        block = bytearray(raw * BLOCK)
        for number in range(BLOCK):
            struct.pack_into("<I", block, number * len(raw) + SERIAL_OFFSET, number + 1)
        self._address = address
        self._block = memoryview(block)
        self._message_bytes = len(raw)
        self._bytes = 0
        self.connections = 0

    @property
    def messages(self) -> int:
        """How many the bus has taken so far."""
        return self._bytes // self._message_bytes

    def run(self, seconds: float) -> None:
        """Flood for that many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(OSError, EOFError), Wire(self._address) as wire:
                self.connections += 1
                self._pour(wire.socket, end)

    def _pour(self, into: socket.socket, end: float) -> None:
        into.setblocking(False)
        offset = 0
        while (left := end - time.monotonic()) > 0:
            if not select.select([], [into], [], left)[1]:
                return
            with suppress(BlockingIOError):
                sent = into.send(self._block[offset:])
                offset = (offset + sent) % len(self._block)
                self._bytes += sent
            if self.connections == 1 and self._bytes == sent:
                print("flooding", flush=True)


def main(address: str, kind: str, seconds: str, to: str = OURS) -> None:
    """Run one flood and print its totals."""
    flood = Flood(address, kind, to)
    flood.run(float(seconds))
    print(json.dumps({"messages": flood.messages, "connections": flood.connections}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
