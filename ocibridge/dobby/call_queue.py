"""The line in front of Dobby: who is out, who waits, and who is held back until Dobby has shown to know the method."""

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
    """One call on its way: waiting here until `sent_at` (time.monotonic) is set, outstanding at Dobby from then on.

    `is_over`: whoever asks has been told. What `arrived` does comes later where Dobby answers later.
    """

    method: Method[T]
    arguments: tuple[Any, ...] = ()
    subject: str = ""
    on_reply: Callable[[T | None], None] = lambda _: None
    place: int = 0  # in the order of arrival
    sent_at: float = 0.0
    on_send: Callable[[], None] = lambda: None  # called when it goes out
    timer: asyncio.TimerHandle | None = None
    is_over: bool = False
    askers: deque[Any] = msgspec.field(default_factory=deque)  # futures of T
    value: T | None = None
    refusal: BridgeError | None = None

    def share(self) -> "asyncio.Future[T]":
        """The answer, in a future of the asker's own, who may give it up."""
        asker: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        while (
            self.askers and self.askers[0].done()
        ):  # given up: as many as ask while Dobby is slow must not pile up
            self.askers.popleft()
        self.askers.append(asker)
        if self.is_over:
            self._tell()
        return asker

    @property
    def is_wanted(self) -> bool:
        """Whether anybody still waits for the answer."""
        return not all(asker.done() for asker in self.askers)

    def settle(self, value: T | None, refusal: BridgeError | None = None) -> None:
        """Tell all askers, those to come as well; the first time alone counts."""
        if not self.is_over:
            self.is_over, self.value, self.refusal = True, value, refusal
            self._tell()

    def _tell(self) -> None:
        for asker in self.askers:
            if asker.done():
                continue
            if self.refusal is None:
                asker.set_result(cast("T", self.value))
            else:
                asker.set_exception(self.refusal)
                asker.exception()  # one that nobody waits for any more is no error of ours
        self.askers.clear()

    def __str__(self) -> str:
        return f"{self.method.member} of {self.subject}" if self.subject else self.method.member

    def stop_timer(self) -> None:
        """The call's own time no longer runs."""
        if self.timer is not None:
            self.timer.cancel()


class CallQueue:
    """The calls of one life of Dobby.

    A method that Dobby lacks costs it a reply slot for good at each try (facts, point 1): until the first call of a
    method has been answered, no second one of it goes out.
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.answered = False  # Dobby has answered any call in this life
        self.outstanding: dict[asyncio.Future[Message], PendingCall[Any]] = {}
        self._joined = 0
        self.choked = False  # Dobby's slots are all taken at the moment: nothing goes out before an answer has come
        self.lacking: set[str] = set()
        self._known: set[str] = set()
        self.waiting: deque[PendingCall[Any]] = deque()  # whose turn comes next is at the left
        self._held: dict[
            str, deque[PendingCall[Any]]
        ] = {}  # by member, while its first call is on its way

    @property
    def queued(self) -> int:
        """How many calls have not gone out yet."""
        return len(self.waiting) + sum(map(len, self._held.values()))

    def __iter__(self) -> Iterator[PendingCall[Any]]:
        """All calls that have not been answered."""
        yield from self.outstanding.values()
        yield from self.waiting
        for held in self._held.values():
            yield from held

    def join(self, call: PendingCall[Any]) -> None:
        """Take a place at the end."""
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
        """To its old place: Dobby has not seen the call, and later ones must not overtake it."""
        call.sent_at = 0.0
        index = next(
            (i for i, other in enumerate(self.waiting) if other.place > call.place),
            len(self.waiting),
        )
        self.waiting.insert(index, call)

    def leave(self, call: PendingCall[Any]) -> None:
        """Give up a place; if others were held for this call, the next of them goes instead."""
        member = call.method.member
        if call in self._held.get(member, ()):
            self._held[member].remove(call)
        else:
            self.waiting.remove(call)
            self._release(member)

    def has_answered(self, member: str) -> None:
        """Dobby has that method."""
        if member not in self._known:
            self._known.add(member)
            self._release(member)

    def has_failed(self, member: str, *, lacking: bool) -> list[PendingCall[Any]]:
        """A call of `member` was answered with an error. Returns those held for it that are now refused."""
        if lacking:
            self.lacking.add(member)
            return list(self._held.pop(member, ()))
        self._release(member)
        return []

    def _release(self, member: str) -> None:
        for call in self._held.pop(member, ()):
            self._enter(call)


class SharedCall(Generic[T]):
    """Dobby's queue is first in, first out, so an answer still to come is as good as one asked for now.

    If it does not come, it may be lost: then the question is asked once more beside it, but no third time.
    """

    def __init__(self, ask: Callable[[], PendingCall[T]]) -> None:
        self._ask = ask
        self._asked_at = 0.0
        self._last: PendingCall[T] | None = None
        self._before: PendingCall[T] | None = None

    def share(self, patience: float, *, fresh: bool) -> "asyncio.Future[T]":
        """A future of the asker's own, who may give it up. `patience`: seconds until an answer may be lost."""
        last = self._last
        is_out = last is not None and (
            last.sent_at or last.is_over
        )  # one that has not gone out yet is as fresh as a new one
        if last is None or last.is_over or (fresh and is_out) or self._is_lost(patience):
            self._before, self._asked_at = last, time.monotonic()
            self._last = last = self._ask()
        return last.share()

    def _is_lost(self, patience: float) -> bool:
        return time.monotonic() - self._asked_at > patience and (
            self._before is None or self._before.is_over
        )
