# SPDX-License-Identifier: Apache-2.0
"""Sends calls to Dobby: limited in number and time (docs/design.md, Dobby's side).

The caller gets an outcome within its timeout. The call stays in flight until Dobby's own reply,
however late, since only that frees Dobby's reply slot. A late reply still reaches `on_reply`, which
feeds the mirror.
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
    MalformedReply,
    Method,
    ReplyFailure,
    failure_of,
)
from ocibridge.dobby.status_texts import status_text
from ocibridge.errors import (
    BridgeError,
    DobbyRefused,
    DobbyUnavailable,
    LimitsExceeded,
    NeverSent,
    NotSupported,
    Timeout,
)
from ocibridge.model import DobbyStatus
from ocibridge.text import quoted

T = TypeVar("T")


class DobbyStarting(DobbyUnavailable):
    """Dobby's name has an owner, its object does not exist yet."""


class DobbyDeaf(DobbyUnavailable):
    """Dobby has no reply slot left."""


class Transport:
    """Sends calls to the present owner of Dobby's name.

    `idle` is set while no call is in flight.
    """

    def __init__(self, bus: Bus, names: DobbyNames, settings: Settings) -> None:
        self._bus = bus
        self._names = names
        self._interfaces = {word: f"{names.service}.{word}" for word in (ADMIN, CTRL)}
        self._loop = asyncio.get_running_loop()
        self._queue: CallQueue | None = None
        self._on_unhealthy: Callable[[DobbyStatus], None] = lambda _: None
        self._health = Health(time.monotonic)
        self._health_timer: asyncio.TimerHandle | None = None
        self.idle = asyncio.Event()
        self.idle.set()
        self._settings = settings

    def begin(self, owner: str, on_unhealthy: Callable[[DobbyStatus], None]) -> None:
        """Call this owner from now on; nothing is known of its methods.

        `on_unhealthy` is called with DEAF or STALLED each time that this is found.
        """
        self._queue = CallQueue(owner)
        self._on_unhealthy = on_unhealthy
        self._health.begin()

    def end(self) -> None:
        """The owner has gone: fail all its calls now."""
        queue, self._queue = self._queue, None
        if queue is not None:
            calls = list(queue)
            queue.in_flight.clear()
            self.idle.set()
            for call in calls:
                self._fail(call, _lost(call) if call.sent_at else _absent())

    def pending_summary(self) -> str:
        """Which call Dobby has not answered for longest; a clause for error texts."""
        in_flight = self._queue.in_flight.values() if self._queue else ()
        work = [call for call in in_flight if call.method is not PING]
        if not work:
            return "Dobby owes no answer"
        oldest = min(work, key=lambda call: call.sent_at)
        return f"Dobby has been busy with {oldest} for {time.monotonic() - oldest.sent_at:.1f} s"

    def ask(
        self,
        method: Method[T],
        *arguments: Any,
        timeout: float | None,
        subject: str = "",
        on_reply: Callable[[T | None], None] = lambda _: None,
        on_send: Callable[[], None] = lambda: None,
    ) -> PendingCall[T]:
        """Send a call, or queue it; its outcome is known within `timeout` seconds.

        A `timeout` of None is for shared questions. They wait as long as this owner exists, and do
        not count against `limits.queued`: there are no more of them than containers.

        `on_reply` is called once: with the result, or with None if there will be none. It is called
        in the order of messages, also after the `timeout`. `on_send` is called as the call is sent.

        `subject` names the container in texts: already quoted, or "".
        Errors: DobbyUnavailable, NotSupported, LimitsExceeded, Timeout, NeverSent, DobbyRefused.
        """
        call = PendingCall(method, arguments, subject, on_reply, on_send=on_send)
        queue = self._queue
        if queue is None:
            self._fail(call, _absent())
        elif method.member in queue.lacking:
            self._fail(call, _not_supported(method))
        elif timeout is not None and queue.queued >= self._settings.now.limits.queued:
            text = f"{queue.queued} calls wait for Dobby already; {self.pending_summary()}"
            self._fail(call, LimitsExceeded(f"{text}; try again later"))
        else:
            if timeout is not None:
                call.timer = self._loop.call_later(timeout, self._time_over, queue, call, timeout)
            queue.join(call)
            self._send_waiting(queue)
        return call

    # Sending.

    def limits_changed(self) -> None:
        """The configuration has changed: more calls may be sent now."""
        if self._queue is not None:
            self._send_waiting(self._queue)

    @property
    def _max_in_flight(self) -> int:
        """Without the place kept for a Ping, which tells a stalled Dobby from a busy one."""
        return max(1, self._settings.now.limits.in_flight - 1)

    def _send_waiting(self, queue: CallQueue) -> None:
        while queue.waiting and len(queue.in_flight) < self._max_in_flight and not queue.is_blocked:
            self._send(queue, queue.waiting.popleft())

    def _send(self, queue: CallQueue, call: PendingCall[Any]) -> None:
        method = call.method
        call.on_send()
        reply = self._bus.call(
            queue.owner,
            self._names.object,
            self._interfaces[method.word],
            method.member,
            method.signature,
            *call.arguments,
        )
        call.sent_at = time.monotonic()
        queue.in_flight[reply] = call
        self.idle.clear()
        reply.add_done_callback(partial(self._replied, queue))
        self._schedule_health_check()

    # Replies.

    def _replied(self, queue: CallQueue, reply: "asyncio.Future[Message]") -> None:
        call = queue.in_flight.pop(reply, None)
        if reply.cancelled():
            return
        failure = reply.exception()
        if call is None:
            return  # its owner has gone, and the call has failed already
        if failure is None:
            self._take_result(queue, call, reply.result())
        else:
            self._take_error(queue, call, failure)
        if queue.waiting:
            self._send_waiting(queue)
        if not queue.in_flight:
            self.idle.set()

    def _take_result(self, queue: CallQueue, call: PendingCall[T], reply: Message) -> None:
        queue.answered, queue.is_blocked = True, False
        queue.has_answered(call.method.member)
        self._health.answered(work=call.method is not PING)
        try:
            call.method.check(signature_of(reply))
            value = call.method.decode(reply.parse_to_tuple())
        except MalformedReply as malformed:
            self._fail(call, DobbyRefused(f"{call}: Dobby sent {malformed}"))
            return
        call.stop_timer()
        call.on_reply(value)
        call.settle(value)

    def _take_error(self, queue: CallQueue, call: PendingCall[Any], failure: BaseException) -> None:
        reply = error_of(failure)
        kind = failure_of(reply, has_answered=queue.answered)
        if kind is not ReplyFailure.GONE:
            self._health.answered(work=call.method is not PING)
        # While Dobby still owes us a reply, it is not deaf: other clients use its slots at present.
        queue.is_blocked = kind is ReplyFailure.DEAF and bool(queue.in_flight)
        if queue.is_blocked and call.is_wanted:
            queue.put_back(call)
            return
        error = _error(kind, call, reply)
        if kind is ReplyFailure.DEAF and not queue.is_blocked:
            self._found_deaf(queue)
        for held in queue.has_failed(call.method.member, lacking=kind is ReplyFailure.LACKING):
            self._fail(held, error)
        self._fail(call, error)

    def _found_deaf(self, queue: CallQueue) -> None:
        """Report it, and fail all calls that have not been sent: no reply will free a slot."""
        self._on_unhealthy(DobbyStatus.DEAF)
        for call in [call for call in queue if not call.sent_at]:
            queue.leave(call)
            self._fail(call, DobbyDeaf(f"{call}: not sent; {status_text(DobbyStatus.DEAF)}"))

    def _fail(self, call: PendingCall[Any], error: BridgeError) -> None:
        """There will be no result."""
        call.stop_timer()
        call.on_reply(None)
        call.settle(None, error)

    def _time_over(self, queue: CallQueue, call: PendingCall[Any], seconds: float) -> None:
        if call.sent_at:
            text = f"{call}: no answer within {seconds:g} s; it may still happen"
            call.settle(None, Timeout(f"{text}; {self.pending_summary()}"))
        else:
            queue.leave(call)
            text = f"{call}: not sent within {seconds:g} s, and never will be"
            self._fail(call, NeverSent(f"{text}; {self.pending_summary()}"))
            self._send_waiting(queue)

    # Health.

    def _schedule_health_check(self) -> None:
        if self._health_timer is None:
            due = time.monotonic() + self._health.interval
            self._health_timer = self._loop.call_later(
                self._health.interval, self._check_health, due
            )

    def _check_health(self, due: float) -> None:
        """While calls are in flight: send a Ping to a silent Dobby, and report a stalled one."""
        self._health_timer = None
        self._health.excuse(time.monotonic() - due)
        queue = self._queue
        if queue is None or not queue.in_flight:
            return
        since = min(call.sent_at for call in queue.in_flight.values())
        work = [call.sent_at for call in queue.in_flight.values() if call.method is not PING]
        is_pinged = len(work) < len(queue.in_flight)
        has_place = len(queue.in_flight) <= self._max_in_flight
        if self._health.is_silent(since) and not is_pinged and has_place:
            self._send(queue, PendingCall(PING))
        if self._health.is_stalled(since if is_pinged else None, min(work, default=None)):
            self._on_unhealthy(DobbyStatus.STALLED)
        self._schedule_health_check()


def _error(kind: ReplyFailure, call: PendingCall[Any], reply: ErrorReply) -> BridgeError:
    """The caller's error for an error reply."""
    match kind:
        case ReplyFailure.GONE:
            text = f"{call}: Dobby left the bus without an answer ({quoted(reply.text)})"
            return DobbyUnavailable(text)
        case ReplyFailure.STARTING:
            return DobbyStarting(status_text(DobbyStatus.STARTING))
        case ReplyFailure.DEAF:
            return DobbyDeaf(f"{call}: {status_text(DobbyStatus.DEAF)}")
        case ReplyFailure.LACKING:
            return _not_supported(call.method)
        case ReplyFailure.OTHER:
            return DobbyRefused(f"{call}: Dobby replied {reply.name}: {quoted(reply.text)}")


def _absent() -> DobbyUnavailable:
    return DobbyUnavailable(status_text(DobbyStatus.ABSENT))


def _lost(call: PendingCall[Any]) -> DobbyUnavailable:
    text = f"{call}: Dobby left the bus before it answered; whether it has happened is not known"
    return DobbyUnavailable(text)


def _not_supported(method: Method[Any]) -> NotSupported:
    return NotSupported(
        f"this Dobby has no {method.member}: it was built without it "
        "(a production build, or one without LEGACY_COMPONENTS)"
    )
