"""The boundary that every call passes: in, it is checked and timed; out, it is translated and logged, once.

python-sdbus would answer with Python's exception names, and not at all where a result does not fit its signature
(reference: sdbus-facts, Serving). Here every call gets exactly one reply, from the closed list of errors.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import structlog

from ocibridge.api import values
from ocibridge.api.admission import Admission, is_open_to_all
from ocibridge.api.call import Call, Member
from ocibridge.api.callers import Callers
from ocibridge.bridge.validation import check_reference, check_size
from ocibridge.bus.connection import Bus, ErrorReply, Message
from ocibridge.bus.interface import Method
from ocibridge.bus.name_watcher import NameWatcher
from ocibridge.config.schema import Settings
from ocibridge.errors import AccessDenied, BridgeError, Failed, LimitsExceeded, Timeout
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import UNKNOWN_UID
from ocibridge.systemd.message_ids import MessageId
from ocibridge.tasks import spawn

# A wait that is over this soon is not worth watching whether its caller is still there.
SHORT_SECONDS: Final = 0.2


class CallerWatch:
    """Those under way."""

    def __init__(self, owners: NameWatcher, callers: Callers, admission: Admission) -> None:
        self._name_watcher = owners
        self._callers = callers
        self._admission = admission

    async def while_there(self, call: Call, work: Awaitable[Any]) -> Any:
        """The result, unless the caller leaves the bus: then there is nobody to wait for it. Raises LimitsExceeded."""
        waiting = asyncio.ensure_future(work)  # awaited here; its errors are the caller's
        try:
            await asyncio.wait([waiting], timeout=SHORT_SECONDS)
            if not waiting.done():
                await self._stay(call, waiting)
        except ErrorReply as error:
            raise LimitsExceeded(
                f"the bus does not let us see callers leave: {error.text}"
            ) from None
        finally:
            waiting.cancel()
        if waiting.cancelled():
            raise Timeout("the caller has left the bus")
        return waiting.result()

    async def _stay(self, call: Call, waiting: "asyncio.Future[Any]") -> None:
        def seen(owner: str) -> None:
            if not owner:
                waiting.cancel()

        await self._callers.known(call.sender)
        self._admission.check_stay(call)
        await self._name_watcher.watch(call.sender, seen)
        try:
            await asyncio.wait([waiting])
        finally:
            self._name_watcher.unwatch(call.sender, seen)


log = structlog.get_logger()

STOPPING_TEXT: Final = "ocibridge is stopping"


class Dispatcher:
    """Answers the calls of all members."""

    def __init__(
        self, bus: Bus, owners: NameWatcher, callers: Callers, mirror: Mirror, settings: Settings
    ) -> None:
        self._bus = bus
        self._admission = Admission(callers, settings)
        self._waiting = CallerWatch(owners, callers, self._admission)
        self._mirror = mirror
        self._callers = callers
        self._under_way: dict[Call, asyncio.Task[None]] = {}
        self._stopping = False
        self._is_over = False

    def method(self, member: Member) -> Method:
        """The member as the bus serves it."""
        is_read = is_open_to_all(member)

        def called(message: Message) -> None:
            if is_read and not message.expect_reply:
                return  # nobody would get the answer; a flood of such calls must cost others nothing
            call = Call(member, message.sender or "")
            try:
                self._admission.admit(call)
            except LimitsExceeded as refusal:
                call.refusal = refusal
                if not member.changes:
                    self._turn_away(call, message)
                    return
            # A task of its own: it starts one turn later, and so stays in order with the signals of that turn.
            self._under_way[call] = spawn(self._answer(call, message), member.name)

        return Method(
            member.name,
            member.signature,
            member.arguments,
            member.result_signature,
            member.results,
            called,
            reads_only=is_read,
        )

    def _turn_away(self, call: Call, message: Message) -> None:
        """At once and cheaply; otherwise a flood queues everyone else behind it."""
        if message.expect_reply:
            self._bus.send(self._reply(call, message))
        call.record(self._mirror)

    async def drain(self, seconds: float) -> None:
        """Let the calls under way end, and tell those that do not in time, and all waits, that we are stopping."""
        self._stopping = True
        await asyncio.sleep(0)  # a task that is cancelled before it has begun would answer nothing
        for task in [task for call, task in self._under_way.items() if call.member.waits]:
            task.cancel()
        if self._under_way:
            await asyncio.wait(set(self._under_way.values()), timeout=seconds)
        self._is_over = True
        late = set(self._under_way.values())
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _answer(self, call: Call, message: Message) -> None:
        try:
            if not is_open_to_all(call.member):
                await self._know_caller(call)
            await self._perform(call, message.parse_to_tuple)
            reply = self._reply(call, message)
        finally:
            # Before the reply is sent: a caller that has it may call again at once.
            del self._under_way[call]
            self._admission.leave(call)
        if message.expect_reply:
            self._bus.send(reply)
        call.record(self._mirror)

    async def perform_inner(self, call: Call, arguments: Callable[[], tuple[Any, ...]]) -> None:
        """Perform a call that came inside another one, and log it like one of its own.

        Afterwards it has its result or its refusal. `arguments` reads them; a BridgeError that it raises is the refusal.
        """
        await self._perform(call, arguments)
        call.record(self._mirror)

    async def _perform(self, call: Call, arguments: Callable[[], tuple[Any, ...]]) -> None:
        try:
            call.result = await self._begin(call, arguments())
        except BridgeError as error:
            # Without its traceback, whose frames hold this one and with it the arguments: megabytes, until the next gc.
            call.refusal = error.with_traceback(None)
            call.refusal.__context__ = None
        except asyncio.CancelledError:
            call.refusal = Timeout(STOPPING_TEXT)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the caller gets a reply and the journal the traceback
            self._fail(call, failure)

    def _begin(self, call: Call, arguments: tuple[Any, ...]) -> Awaitable[Any]:
        member = call.member
        call.on_reply(arguments, self._mirror)
        self._check_welcome(call)
        for name, value in zip(member.arguments, arguments, strict=True):
            check_size(name, value, member.largest)
            if name == "containerId":
                check_reference(value)
        work = (
            member.run(*arguments, call.caller) if member.needs_caller else member.run(*arguments)
        )
        return self._waiting.while_there(call, work) if member.waits else work

    def _reply(self, call: Call, message: Message) -> Message:
        try:
            if call.refusal is None:
                reply = message.create_reply()
                if call.member.result_signature:
                    reply.append_data(
                        call.member.result_signature, *call.member.to_dbus(call.result)
                    )
                return reply
        except Exception as failure:  # noqa: BLE001 - likewise where a result does not fit its signature
            self._fail(call, failure)
        refusal = call.refusal or Failed("")
        return message.create_error_reply(refusal.dbus_name, values.text(refusal.text))

    def _fail(self, call: Call, failure: Exception) -> None:
        told = f"{call.member.name} failed in a way that nobody foresaw"
        log.error(told, exc_info=failure, MESSAGE_ID=MessageId.BUG, METHOD=call.member.name)
        call.refusal = Failed(
            f"{call.member.name} failed inside ocibridge; its journal has the details"
        )

    async def _know_caller(self, call: Call) -> None:
        """Before anything is done: nobody may change anything and be gone before it can be said who it was."""
        call.caller = self._callers.meet(call.sender)
        with suppress(
            asyncio.CancelledError
        ):  # told to stop meanwhile, which must not keep the reply back
            await self._callers.known(call.sender)

    def _check_welcome(self, call: Call) -> None:
        if call.refusal is not None:
            raise call.refusal
        if self._is_over or (self._stopping and call.member.waits):
            raise Timeout(STOPPING_TEXT)
        if (
            not is_open_to_all(call.member)
            and call.caller is not None
            and call.caller.uid == UNKNOWN_UID
        ):
            raise AccessDenied(
                f"{call.member.name}: not done: the bus does not say any more who has called"
            )
