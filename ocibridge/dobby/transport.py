"""Calls to Dobby: bounded in number and time, and safe for it (design 7).

Every call is answered to its asker within its own timeout. Its place among the outstanding ones is held until Dobby's
own reply, however late, since only that gives Dobby its reply slot back; the late reply still feeds the mirror.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from ocibridge.bus.connection import Bus, ErrorReply, Message, error_of
from ocibridge.bus.sd_bus import signature_of
from ocibridge.config.schema import DobbyNames, Settings
from ocibridge.dobby.call_queue import CallQueue, PendingCall
from ocibridge.dobby.health import Health
from ocibridge.dobby.protocol import (
    ADMIN,
    CTRL,
    PING,
    Method,
    NotAnAnswer,
    ReplyFailure,
    failure_of,
)
from ocibridge.errors import (
    BridgeError,
    DobbyRefused,
    DobbyUnavailable,
    LimitsExceeded,
    NeverSent,
    NotSupported,
    Timeout,
)
from ocibridge.text import quoted

T = TypeVar("T")


class DobbyStarting(DobbyUnavailable):
    """Its name is there, its object not yet."""


class DobbyDeaf(DobbyUnavailable):
    """It has no reply slot left."""


class Transport:
    """Sends calls to the Dobby of the present life. `disturbed` is called when it turns out deaf or stalled."""

    def __init__(self, bus: Bus, names: DobbyNames, settings: Settings) -> None:
        self._bus = bus
        self._names = names
        self._interfaces = {word: f"{names.service}.{word}" for word in (ADMIN, CTRL)}
        self._loop = asyncio.get_running_loop()
        self._queue: CallQueue | None = None
        self._health = Health(time.monotonic)
        self._look_timer: asyncio.TimerHandle | None = None
        self.on_unhealthy: Callable[[ReplyFailure], None] = lambda _: None
        self.idle = asyncio.Event()  # set while Dobby owes us no answer
        self.idle.set()
        self._settings = settings

    def begin(self, owner: str) -> None:
        """A new owner of the name: a fresh pool, nothing known of its methods."""
        self._queue = CallQueue(owner)
        self._health.begin()

    def end(self) -> None:
        """The owner is gone: everything that waited for it fails at once."""
        line, self._queue = self._queue, None
        if line is not None:
            calls = list(line)
            line.outstanding.clear()
            self.idle.set()
            for call in calls:
                self._refuse(call, _died_with(call) if call.sent_at else self._gone())

    def pending_summary(self) -> str:
        """What Dobby was asked longest ago and has not answered, for error texts."""
        work = (
            [call for call in self._queue.outstanding.values() if call.method is not PING]
            if self._queue
            else []
        )
        if not work:
            return "Dobby owes no answer"
        oldest = min(work, key=lambda call: call.sent_at)
        return f"Dobby is busy with {oldest} since {time.monotonic() - oldest.sent_at:.1f} s"

    def ask(
        self,
        method: Method[T],
        *arguments: Any,
        timeout: float | None,
        subject: str = "",
        on_reply: Callable[[T | None], None] = lambda _: None,
        on_send: Callable[[], None] = lambda: None,
    ) -> PendingCall[T]:
        """Send a call as soon as its turn comes; it is over within `timeout` seconds.

        None is for the shared questions, as few as there are containers: they wait as long as Dobby lives, and are
        not counted against `limits.queued`.

        `arrived` is called once, at the reply's place in the order of messages (with None if none will come), also
        when the asker has long been told `Timeout`; `going` when the call goes out.

        `subject` names the container in texts, already shown() or "".
        Errors: DobbyUnavailable, NotSupported, LimitsExceeded, Timeout, DobbyRefused.
        """
        call = PendingCall(method, arguments, subject, on_reply, on_send=on_send)
        line = self._queue
        if line is None:
            self._refuse(call, self._gone())
        elif method.member in line.lacking:
            self._refuse(call, _not_supported(method))
        elif timeout is not None and line.queued >= self._settings.now.limits.queued:
            self._refuse(
                call,
                LimitsExceeded(
                    f"{line.queued} calls wait for Dobby already; {self.pending_summary()}; try again later"
                ),
            )
        else:
            if timeout is not None:
                call.timer = self._loop.call_later(timeout, self._time_over, line, call, timeout)
            line.join(call)
            self._send_what_may_go(line)
        return call

    # Out.

    def limits_changed(self) -> None:
        """The configuration is another one: what waits may have a place now."""
        if self._queue is not None:
            self._send_what_may_go(self._queue)

    @property
    def _places(self) -> int:
        """How many calls may be outstanding beside a Ping, which alone tells a stalled Dobby from a busy one."""
        return max(1, self._settings.now.limits.in_flight - 1)

    def _send_what_may_go(self, line: CallQueue) -> None:
        while line.waiting and len(line.outstanding) < self._places and not line.choked:
            self._send(line, line.waiting.popleft())

    def _send(self, line: CallQueue, call: PendingCall[Any]) -> None:
        method = call.method
        call.on_send()
        reply = self._bus.call(
            line.owner,
            self._names.object,
            self._interfaces[method.word],
            method.member,
            method.signature,
            *call.arguments,
        )
        call.sent_at = time.monotonic()
        line.outstanding[reply] = call
        self.idle.clear()
        reply.add_done_callback(partial(self._came_back, line))
        if self._look_timer is None:
            self._look_timer = self._loop.call_later(
                self._health.interval, self._look, time.monotonic() + self._health.interval
            )

    # Back.

    def _came_back(self, line: CallQueue, reply: "asyncio.Future[Message]") -> None:
        call = line.outstanding.pop(reply, None)
        if reply.cancelled():
            return
        failure = reply.exception()
        if call is None:
            return  # of a life that has ended
        if failure is None:
            self._take_answer(line, call, reply.result())
        else:
            self._take_error(line, call, failure)
        if line.waiting:
            self._send_what_may_go(line)
        if not line.outstanding:
            self.idle.set()

    def _take_answer(self, line: CallQueue, call: PendingCall[T], reply: Message) -> None:
        line.answered, line.choked = True, False
        line.has_answered(call.method.member)
        self._health.answered(work=call.method is not PING)
        try:
            call.method.check(signature_of(reply))
            value = call.method.decode(reply.parse_to_tuple())
        except NotAnAnswer as wrong:
            self._refuse(call, DobbyRefused(f"{call}: Dobby sent {wrong}"))
            return
        call.stop_timer()
        call.on_reply(value)
        call.settle(value)

    def _take_error(self, line: CallQueue, call: PendingCall[Any], failure: BaseException) -> None:
        error = error_of(failure)
        refusal = failure_of(error, line.answered)
        if refusal is not ReplyFailure.GONE:
            self._health.answered(work=call.method is not PING)
        if refusal is ReplyFailure.DEAF and line.outstanding:
            # Others take its slots as well: it is full, not deaf, as long as it still owes us an answer.
            line.choked = True
            if call.is_wanted:
                line.put_back(call)
                return
        else:
            line.choked = False
        told = _told(refusal, call, error)
        if refusal is ReplyFailure.DEAF and not line.choked:
            self._turn_deaf(line)
        for held in line.has_failed(call.method.member, lacking=refusal is ReplyFailure.LACKING):
            self._refuse(held, told)
        self._refuse(call, told)

    def _turn_deaf(self, line: CallQueue) -> None:
        """Nobody is left to wait for something that will not come."""
        self.on_unhealthy(ReplyFailure.DEAF)
        for call in [call for call in line if not call.sent_at]:
            line.leave(call)
            self._refuse(
                call,
                DobbyDeaf(
                    f"{call}: not sent; Dobby has no reply slot left; it has to be restarted"
                ),
            )

    def _refuse(self, call: PendingCall[Any], refusal: BridgeError) -> None:
        """No (usable) answer will come."""
        call.stop_timer()
        call.on_reply(None)
        call.settle(None, refusal)

    def _gone(self) -> DobbyUnavailable:
        return DobbyUnavailable(
            f"{self._names.service} is not on the bus; is Dobby running? (systemctl status dobby)"
        )

    def _time_over(self, line: CallQueue, call: PendingCall[Any], seconds: float) -> None:
        if not call.sent_at:
            line.leave(call)
            self._refuse(
                call,
                NeverSent(
                    f"{call}: not sent within {seconds:g} s, and never will be; {self.pending_summary()}"
                ),
            )
            self._send_what_may_go(line)
        else:
            call.settle(
                None,
                Timeout(
                    f"{call}: no answer within {seconds:g} s; it may still happen; {self.pending_summary()}"
                ),
            )

    # Is anybody there?

    def _look(self, due: float) -> None:
        """While something is outstanding: a Ping if Dobby has been silent, and the alarm if that has not helped."""
        self._look_timer = None
        self._health.excuse(time.monotonic() - due)
        line = self._queue
        if line is None or not line.outstanding:
            return
        since = min(call.sent_at for call in line.outstanding.values())
        work = [call.sent_at for call in line.outstanding.values() if call.method is not PING]
        pinged = len(work) < len(line.outstanding)
        if self._health.is_silent(since) and not pinged and len(line.outstanding) <= self._places:
            self._send(line, PendingCall(PING))
        if self._health.is_stalled(since if pinged else None, min(work, default=None)):
            self.on_unhealthy(ReplyFailure.OTHER)
        if self._look_timer is None:
            self._look_timer = self._loop.call_later(
                self._health.interval, self._look, time.monotonic() + self._health.interval
            )


def _told(refusal: ReplyFailure, call: PendingCall[Any], error: ErrorReply) -> BridgeError:
    """What the asker is told of an error reply."""
    match refusal:
        case ReplyFailure.GONE:
            return DobbyUnavailable(
                f"{call}: Dobby went away without an answer ({quoted(error.text)})"
            )
        case ReplyFailure.STARTING:
            return DobbyStarting("Dobby is starting and does not take calls yet")
        case ReplyFailure.DEAF:
            return DobbyDeaf(
                f"{call}: Dobby has no reply slot left and answers nobody; it has to be restarted"
            )
        case ReplyFailure.LACKING:
            return _not_supported(call.method)
        case ReplyFailure.OTHER:
            return DobbyRefused(f"{call}: answered with {error.name}: {quoted(error.text)}")


def _died_with(call: PendingCall[Any]) -> DobbyUnavailable:
    return DobbyUnavailable(
        f"{call}: Dobby went away before it answered; whether it has happened is not known"
    )


def _not_supported(method: Method[Any]) -> NotSupported:
    return NotSupported(
        f"this Dobby has no {method.member}: it was built without it (a production build, or one without LEGACY_COMPONENTS)"
    )
