"""Somebody in Dobby's place who answers what he likes."""

import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from dbus_fast import Message, MessageType

from tests.hostile.wire import DRIVER, Wire

Answer = Callable[[Message], Message | None]


def returning(signature: str, *body: Any) -> Answer:
    """Every call is answered with that."""
    return lambda call: Message.new_method_return(call, signature, list(body))


def refusing(name: str, text: str) -> Answer:
    """Every call is answered with that error."""
    return lambda call: Message.new_error(call, name, text)


class Liar:
    """Owns org.rdk.dobby for as long as its `with` block lasts; `answer` may be another one at any time."""

    def __init__(self, address: str, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self._wire = Wire(address)
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "Liar":
        request = Message(destination=DRIVER, path="/", interface=DRIVER, member="RequestName", signature="su", body=["org.rdk.dobby", 0])
        assert self._wire.ask(request).body == [1]
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._wire.hang_up()
        self._thread.join()
        self._wire.__exit__(kind, value, trace)

    def _listen(self) -> None:
        with suppress(OSError, EOFError):
            while True:
                message = self._wire.next()
                if message.message_type is MessageType.METHOD_CALL:
                    self.asked.append(str(message.member))
                    answer = self.answer(message)
                    if answer is not None:
                        self._wire.send(answer)

    def signal(self, member: str, signature: str, *body: Any) -> None:
        """Send a signal of Dobby's."""
        where: dict[str, Any] = {"path": "/org/rdk/dobby", "interface": "org.rdk.dobby.ctrl1", "member": member}
        self._wire.send(Message(message_type=MessageType.SIGNAL, signature=signature, body=list(body), **where))
