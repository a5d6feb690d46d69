# SPDX-License-Identifier: Apache-2.0
"""Calls to one Dobby process: in flight, queued, or held until their method is known to exist."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, cast

import msgspec

from ocibridge.bus.connection import Message
from ocibridge.dobby.protocol import Method
from ocibridge.errors import BridgeError

T = TypeVar("T")


class PendingCall(msgspec.Struct, Generic[T], eq=False):
    """One call to Dobby.

    `subject`: the container in texts, quoted, or "". `on_send`, `on_reply`: see `Transport.ask`.
    `place`: the position in the order of arrival. `sent_at`: time.monotonic(), 0 until it is sent.
    `is_over`: the result or error is known to those who asked. Dobby's reply may still come.
    `askers`: their futures, of T. `value`, `error`: the outcome, once `is_over`.
    """

    method: Method[T]
    arguments: tuple[Any, ...] = ()
    subject: str = ""
    on_reply: Callable[[T | None], None] = lambda _: None
    place: int = 0
    sent_at: float = 0.0
    on_send: Callable[[], None] = lambda: None
    timer: asyncio.TimerHandle | None = None
    is_over: bool = False
    askers: deque[Any] = msgspec.field(default_factory=deque)
    value: T | None = None
    error: BridgeError | None = None

    def share(self) -> "asyncio.Future[T]":
        """A future of the outcome for one more asker, who may cancel it."""
        asker: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        # Drop cancelled ones, or those of impatient callers would pile up while Dobby is slow.
        while self.askers and self.askers[0].done():
            self.askers.popleft()
        self.askers.append(asker)
        if self.is_over:
            self._notify()
        return asker

    @property
    def is_wanted(self) -> bool:
        """Whether anybody still waits for the outcome."""
        return not all(asker.done() for asker in self.askers)

    def settle(self, value: T | None, error: BridgeError | None = None) -> None:
        """Set the outcome, for present and later askers. Only the first time has an effect."""
        if not self.is_over:
            self.is_over, self.value, self.error = True, value, error
            self._notify()

    def _notify(self) -> None:
        for asker in self.askers:
            if asker.done():
                continue
            if self.error is None:
                asker.set_result(cast("T", self.value))
            else:
                asker.set_exception(self.error)
                asker.exception()  # retrieved, or asyncio would log it if nobody awaits the future
        self.askers.clear()

    def __str__(self) -> str:
        return f"{self.method.member} of {self.subject}" if self.subject else self.method.member

    def stop_timer(self) -> None:
        """Cancel the call's timeout."""
        if self.timer is not None:
            self.timer.cancel()


class CallQueue:
    """The calls to the Dobby process with the unique name `owner`.

    A call of a method that Dobby lacks costs it a reply slot for good (docs/dobby.md, Reply slots).
    So the second call of a method is held until the first has been answered.

    `waiting`: calls ready to be sent, the next one at the left. `in_flight`: calls sent, by the
    future of the reply. `answered`: Dobby has answered any call. `is_blocked`: Dobby has no free
    slot, so send nothing before its next reply. `lacking`: the methods that it does not have.
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.answered = False
        self.in_flight: dict[asyncio.Future[Message], PendingCall[Any]] = {}
        self.is_blocked = False
        self.lacking: set[str] = set()
        self.waiting: deque[PendingCall[Any]] = deque()
        self._joined = 0
        self._known: set[str] = set()
        # By method, while its first call is waiting or in flight.
        self._held: dict[str, deque[PendingCall[Any]]] = {}

    @property
    def queued(self) -> int:
        """How many calls have not been sent."""
        return len(self.waiting) + sum(map(len, self._held.values()))

    def __iter__(self) -> Iterator[PendingCall[Any]]:
        """All calls that have not been answered."""
        yield from self.in_flight.values()
        yield from self.waiting
        for held in self._held.values():
            yield from held

    def join(self, call: PendingCall[Any]) -> None:
        """Append a call."""
        self._joined += 1
        call.place = self._joined
        self._enter(call)

    def _enter(self, call: PendingCall[Any]) -> None:
        member = call.method.member
        if member in self._known:
            self.waiting.append(call)
        elif member in self._held:
            self._held[member].append(call)
        else:
            self._held[member] = deque()
            self.waiting.append(call)

    def put_back(self, call: PendingCall[Any]) -> None:
        """Requeue a call that Dobby had no slot for, at its old place among the others."""
        call.sent_at = 0.0
        index = next(
            (i for i, other in enumerate(self.waiting) if other.place > call.place),
            len(self.waiting),
        )
        self.waiting.insert(index, call)

    def leave(self, call: PendingCall[Any]) -> None:
        """Remove a call that has not been sent. The next call held for it takes its turn."""
        member = call.method.member
        if call in self._held.get(member, ()):
            self._held[member].remove(call)
        else:
            self.waiting.remove(call)
            self._release(member)

    def has_answered(self, member: str) -> None:
        """A call of that method was answered, so the method exists."""
        if member not in self._known:
            self._known.add(member)
            self._release(member)

    def has_failed(self, member: str, *, lacking: bool) -> list[PendingCall[Any]]:
        """A call of that method was answered with an error. `lacking`: the method does not exist.

        Returns the calls that were held for it and now fail as well.
        """
        if lacking:
            self.lacking.add(member)
            return list(self._held.pop(member, ()))
        self._release(member)
        return []

    def _release(self, member: str) -> None:
        for call in self._held.pop(member, ()):
            self._enter(call)


class SharedCall(Generic[T]):
    """A question that its askers share. `ask` sends it.

    Dobby answers in order, so an answer still to come is as good as that of a new call. If it does
    not come, it may be lost. Then one more call is sent beside it, but no third one.
    """

    def __init__(self, ask: Callable[[], PendingCall[T]]) -> None:
        self._ask = ask
        self._asked_at = 0.0
        self._last: PendingCall[T] | None = None
        self._before: PendingCall[T] | None = None

    def share(self, patience: float, *, fresh: bool) -> "asyncio.Future[T]":
        """A future of the outcome, which the asker may cancel.

        `patience`: seconds after which an answer may be lost. `fresh`: share no call that has been
        sent already; one that is still queued will do.
        """
        last = self._last
        is_sent = last is not None and (last.sent_at or last.is_over)
        if last is None or last.is_over or (fresh and is_sent) or self._is_lost(patience):
            self._before, self._asked_at = last, time.monotonic()
            self._last = last = self._ask()
        return last.share()

    def _is_lost(self, patience: float) -> bool:
        is_overdue = time.monotonic() - self._asked_at > patience
        return is_overdue and (self._before is None or self._before.is_over)
