# SPDX-License-Identifier: Apache-2.0
"""A false Dobby that sends arbitrary replies."""

import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from dbus_fast import Message, MessageType

from tests.robustness.wire import DRIVER, TO_THE_BUS, Wire

Answer = Callable[[Message], Message | None]


def returning(signature: str, *body: Any) -> Answer:
    """Answers every call with that reply."""
    return lambda call: Message.new_method_return(call, signature, list(body))


def refusing(name: str, text: str) -> Answer:
    """Answers every call with that error."""
    return lambda call: Message.new_error(call, name, text)


class Liar:
    """Owns org.rdk.dobby inside its `with` block. `answer` may be replaced at any time.

    `flags` are those of RequestName, `becomes` is its expected result (2: queued for the name).
    """

    def __init__(self, address: str, answer: Answer, *, flags: int = 0, becomes: int = 1) -> None:
        self.answer = answer
        self._flags, self._becomes = flags, becomes
        self.calls: list[str] = []
        self._wire = Wire(address)
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "Liar":
        where = {"destination": DRIVER, "path": "/", "interface": DRIVER}
        serial = self._wire.call("RequestName", "su", ("org.rdk.dobby", self._flags), **where)
        assert self._wire.reply(serial).body == [self._becomes]
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._wire.hang_up()
        self._thread.join()
        self._wire.__exit__(kind, value, trace)

    def _listen(self) -> None:
        with suppress(OSError, EOFError):
            while True:
                message = self._wire.next()
                if message.message_type is MessageType.METHOD_CALL:
                    self.calls.append(str(message.member))
                    answer = self.answer(message)
                    if answer is not None:
                        self._wire.send(answer)

    def give_up_the_name(self) -> None:
        """Stay on the bus without the name."""
        self._wire.call("ReleaseName", "s", ("org.rdk.dobby",), **TO_THE_BUS)

    def send(self, message: Message) -> None:
        """Send a message, such as a late or an unexpected reply."""
        self._wire.send(message)

    def signal(self, member: str, signature: str, *body: Any) -> None:
        """Send a signal of Dobby."""
        where: dict[str, Any] = {
            "path": "/org/rdk/dobby",
            "interface": "org.rdk.dobby.ctrl1",
            "member": member,
        }
        self._wire.send(
            Message(message_type=MessageType.SIGNAL, signature=signature, body=list(body), **where)
        )
