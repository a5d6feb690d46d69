# SPDX-License-Identifier: Apache-2.0
"""A raw connection to the bus.

It sends any message that dbus-fast can serialise, also those that client libraries refuse.
"""

import os
import socket
from array import array
from types import TracebackType
from typing import Any, Final

from dbus_fast import Message, MessageFlag, MessageType
from dbus_fast._private.unmarshaller import Unmarshaller

DRIVER = "org.freedesktop.DBus"
OURS = "org.rdk.OCIContainer"
PATH = "/org/rdk/OCIContainer"
INTERFACE = "org.rdk.OCIContainer1"
BOUND = 20.0
TO_THE_BUS: Final = {"destination": DRIVER, "path": "/org/freedesktop/DBus", "interface": DRIVER}


class Wire:
    """One connection. Its calls block, for `BOUND` seconds at most."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(BOUND)
        self.socket.connect(address.removeprefix("unix:path=").split(",")[0])
        user = str(os.getuid()).encode().hex()
        self.socket.sendall(f"\0AUTH EXTERNAL {user}\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n".encode())
        self._lines(2)
        self._stream: Any = self.socket.makefile("rb", buffering=0)
        self._serial = 0
        self._replies: dict[int, Message] = {}
        self.others: list[Message] = []  # other messages received meanwhile: signals
        self.name: str = self.ask_bus("Hello")

    def __enter__(self) -> "Wire":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()
        self.socket.close()

    def _lines(self, count: int) -> None:
        seen = b""
        while seen.count(b"\r\n") < count:
            seen += self.socket.recv(1)

    def send(self, message: Message, fds: tuple[int, ...] = ()) -> int:
        """Send it. Returns its serial."""
        self._serial += 1
        message.serial = self._serial
        message.unix_fds = list(fds)
        raw = bytes(message._marshall(bool(fds)))
        if fds:
            sent = self.socket.sendmsg(
                [raw], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))]
            )
            self.socket.sendall(raw[sent:])
        else:
            self.socket.sendall(raw)
        return self._serial

    def call(
        self, member: str, signature: str = "", body: tuple[Any, ...] = (), **other: Any
    ) -> int:
        """Send a call, to ocibridge by default. Returns its serial."""
        where = {"destination": OURS, "path": PATH, "interface": INTERFACE} | other
        return self.send(Message(member=member, signature=signature, body=list(body), **where))

    def reply(self, serial: int) -> Message:
        """The reply to that call."""
        while serial not in self._replies:
            message = self.next()
            if message.message_type in {MessageType.METHOD_RETURN, MessageType.ERROR}:
                self._replies[message.reply_serial] = message
            else:
                self.others.append(message)
        return self._replies.pop(serial)

    def next(self) -> Message:
        """The next message of any kind.

        Raises EOFError once the bus or `hang_up` has closed the connection.
        """
        message: Message | None = Unmarshaller(self._stream).unmarshall()
        if message is None:
            raise EOFError("the bus has closed the connection")
        return message

    def hang_up(self) -> None:
        """Shut the connection down, also under a blocked reader."""
        self.socket.shutdown(socket.SHUT_RDWR)

    def ask(self, message: Message) -> Message:
        """Send a call, and wait for its reply."""
        return self.reply(self.send(message))

    def ask_bus(self, member: str, signature: str = "", *body: Any) -> Any:
        """Call the bus itself. Returns the first value of its reply, or the text of its error."""
        answer = self.reply(self.call(member, signature, body, **TO_THE_BUS))
        return answer.body[0] if answer.body else None

    def outcome(
        self, member: str, signature: str = "", body: tuple[Any, ...] = (), **other: Any
    ) -> str:
        """How a call ends: "reply", or the error's name."""
        answer = self.reply(self.call(member, signature, body, **other))
        return (
            "reply" if answer.message_type is MessageType.METHOD_RETURN else str(answer.error_name)
        )

    def is_served(self) -> bool:
        """Whether ocibridge answers an honest caller."""
        return self.outcome("listContainers") == "reply"


NO_REPLY = MessageFlag.NO_REPLY_EXPECTED
