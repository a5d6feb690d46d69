# SPDX-License-Identifier: Apache-2.0
"""The dispatcher of all calls: admits and checks them, converts the results, logs each call once.

python-sdbus would answer with names of Python exceptions, and not at all if a result does not fit
its signature (docs/sdbus.md, Replies and errors). Here every call gets exactly one reply; errors
are from the closed list.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import structlog

from ocibridge.api import values
from ocibridge.api.access_control import AccessControl, denied
from ocibridge.api.admission import Admission
from ocibridge.api.call import Call
from ocibridge.api.callers import Callers
from ocibridge.api.methods import CONTAINER_ID, MethodSpec
from ocibridge.api.refusals import Refusals
from ocibridge.bridge.validation import check_reference, check_size
from ocibridge.bus.connection import Bus, ErrorReply, Message
from ocibridge.bus.interface import Method
from ocibridge.bus.name_watcher import NameWatcher
from ocibridge.config.schema import Settings, is_system_bus
from ocibridge.errors import (
    AccessDenied,
    BridgeError,
    Failed,
    InvalidArgs,
    LimitsExceeded,
    Timeout,
)
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import UNKNOWN_UID, Container
from ocibridge.systemd.message_ids import MessageId
from ocibridge.tasks import spawn

log = structlog.get_logger()

# A wait that is over this soon is not worth watching whether its caller is still there.
SHORT_SECONDS: Final = 0.2
STOPPING_TEXT: Final = "ocibridge is stopping"

# The container on whose object a call arrived, by the object's path.
ContainerAt = Callable[[str], Container]


class CallerWatch:
    """Ends a long-running call when its caller leaves the bus: nobody is left to get the reply."""

    def __init__(self, names: NameWatcher, callers: Callers, admission: Admission) -> None:
        self._names = names
        self._callers = callers
        self._admission = admission

    async def while_there(self, call: Call, work: Awaitable[Any]) -> Any:
        """The result of `work`. Raises Timeout if the caller leaves first, LimitsExceeded."""
        waiting = asyncio.ensure_future(work)  # awaited here; its errors are the caller's
        try:
            # A caller that is not known yet may have left already, and takes a place of few.
            is_known = call.caller is not None and call.caller.uid != UNKNOWN_UID
            await asyncio.wait([waiting], timeout=SHORT_SECONDS if is_known else 0)
            if not waiting.done():
                await self._stay(call, waiting)
        except ErrorReply as error:
            raise LimitsExceeded(
                f"the bus does not let ocibridge see callers leave: {error.text}"
            ) from None
        finally:
            waiting.cancel()
        if waiting.cancelled():
            raise Timeout("the caller has left the bus")
        return waiting.result()

    async def _stay(self, call: Call, waiting: "asyncio.Future[Any]") -> None:
        def owner_changed(owner: str) -> None:
            if not owner:
                waiting.cancel()

        await self._callers.known(call.sender)
        if call.caller is not None and call.caller.uid == UNKNOWN_UID:
            waiting.cancel()  # the bus no longer knows the caller
            await asyncio.wait([waiting])
            return
        self._admission.check_stay(call)
        await self._names.watch(call.sender, owner_changed)
        try:
            await asyncio.wait([waiting])
        finally:
            self._names.unwatch(call.sender, owner_changed)


class Dispatcher:
    """Answers the calls of all methods."""

    def __init__(
        self,
        bus: Bus,
        names: NameWatcher,
        callers: Callers,
        mirror: Mirror,
        settings: Settings,
        refusals: Refusals,
    ) -> None:
        self._bus = bus
        self._refusals = refusals
        self._access = AccessControl(
            callers, mirror, settings, is_system_bus=is_system_bus(settings.now.bus)
        )
        self._admission = Admission(callers, settings)
        self._caller_watch = CallerWatch(names, callers, self._admission)
        self._mirror = mirror
        self._callers = callers
        self._under_way: dict[Call, asyncio.Task[None]] = {}
        self._stopping = False
        self._is_over = False

    def method(self, spec: MethodSpec, container_at: ContainerAt | None = None) -> Method:
        """The method as the bus serves it. `container_at`: for those of the container objects."""

        def called(message: Message) -> None:
            container = None if container_at is None else container_at(message.path or "")
            call = Call(spec, message.sender or "", container)
            if not spec.is_open_to_all:
                call.caller = self._callers.meet(call.sender)
            try:
                if self._stopping:
                    raise Timeout(STOPPING_TEXT)
                self._admission.admit(call)
            except (LimitsExceeded, Timeout) as refusal:
                call.refusal = refusal
                if not spec.mutating:
                    self._turn_away(call, message)
                    return
            if spec.judged_as and self._is_refused_at_once(call, message):
                return
            # A task starts in the next loop iteration: in order with the signals of this one.
            self._under_way[call] = spawn(self._answer(call, message), spec.name)

        return Method(
            spec.name,
            spec.signature,
            tuple(spec.arguments),
            spec.result_signature,
            tuple(spec.results),
            called,
            reads_only=spec.reads_only,
        )

    def _turn_away(self, call: Call, message: Message) -> None:
        """Reject at once and cheaply; otherwise a flood queues everyone else behind it."""
        if message.expect_reply:
            self._bus.send(self._reply(call, message))
        self._record(call)

    def _is_refused_at_once(self, call: Call, message: Message) -> bool:
        """Turn away a caller that is known to have no rule for the method."""
        who = self._access.outsider(call)
        if who is None or call.refusal is not None:
            return False
        call.take_arguments(message.parse_to_tuple(), self._mirror)
        call.refusal = denied(call, who, call.subject)
        self._admission.leave(call)
        self._turn_away(call, message)
        return True

    async def drain(self, seconds: float) -> None:
        """Let the calls in flight end within `seconds`. Refuse those that arrive from now on.

        Long-running calls get Timeout at once, the others when the time is over.
        """
        self._stopping = True
        await asyncio.sleep(0)  # a task that is cancelled before it has begun would answer nothing
        for task in [task for call, task in self._under_way.items() if call.spec.long_running]:
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
            if not call.spec.is_open_to_all:
                await self._know_caller(call)
            await self._perform(call, message.parse_to_tuple)
            reply = self._reply(call, message)
        finally:
            # Before the reply is sent: the caller may call again as soon as it has the reply.
            del self._under_way[call]
            self._admission.leave(call)
        if message.expect_reply:
            self._bus.send(reply)
        self._record(call)

    async def perform_inner(self, call: Call, arguments: Callable[[], tuple[Any, ...]]) -> None:
        """Perform a call that came inside another one, and log it like one of its own.

        Afterwards the call has its result or its refusal. `arguments` reads the in arguments; a
        BridgeError that it raises is the refusal.
        """
        await self._perform(call, arguments)
        self._record(call)

    def _record(self, call: Call) -> None:
        """Log the call. Those without right may be many, and are logged together."""
        if isinstance(call.refusal, AccessDenied) or (
            call.refusal is not None and self._access.outsider(call) is not None
        ):
            call.tally(self._refusals)
        else:
            call.record(self._mirror)

    async def _perform(self, call: Call, arguments: Callable[[], tuple[Any, ...]]) -> None:
        try:
            if call.spec.judged_as:
                await self._judge(call, arguments)
            else:
                call.take_arguments(arguments(), self._mirror)
                self._check_allowed(call)
            call.result = await self._begin(call)
        except BridgeError as error:
            # Drop the traceback: its frames keep the arguments, perhaps megabytes.
            call.refusal = error.with_traceback(None)
            call.refusal.__context__ = None
        except asyncio.CancelledError:
            call.refusal = Timeout(STOPPING_TEXT)
        except Exception as failure:  # noqa: BLE001 - the caller gets a reply whatever happens
            self._fail(call, failure)

    async def _judge(self, call: Call, arguments: Callable[[], tuple[Any, ...]]) -> None:
        """Take the arguments, and raise AccessDenied unless a rule allows the call with them."""
        await self._access.identify(call)
        try:
            call.take_arguments(arguments(), self._mirror)
        except InvalidArgs:  # which is told only to those who may call the method
            self._check_allowed(call)
            self._access.check_method(call)
            raise
        self._check_allowed(call)
        await self._access.check(call)

    def _begin(self, call: Call) -> Awaitable[Any]:
        spec, arguments = call.spec, call.arguments
        for name, value in zip(spec.arguments, arguments, strict=True):
            check_size(name, value, spec.max_bytes)
            if name == CONTAINER_ID and isinstance(value, str):
                check_reference(value)
        if call.container is not None:
            arguments = (call.container, *arguments)
        if spec.needs_caller:
            arguments = (*arguments, call.caller)
        work = spec.operation(*arguments)
        return self._caller_watch.while_there(call, work) if spec.long_running else work

    def _reply(self, call: Call, message: Message) -> Message:
        try:
            if call.refusal is None:
                reply = message.create_reply()
                if call.spec.results:
                    reply.append_data(call.spec.result_signature, *call.results)
                return reply
        except Exception as failure:  # noqa: BLE001 - a result that does not fit
            self._fail(call, failure)
        refusal = call.refusal or Failed("")
        return message.create_error_reply(refusal.dbus_name, values.text(refusal.text))

    def _fail(self, call: Call, failure: Exception) -> None:
        name = call.spec.name
        text = f"{name} failed unexpectedly"
        log.error(text, exc_info=failure, MESSAGE_ID=MessageId.BUG, METHOD=name)
        call.refusal = Failed(f"{name} failed inside ocibridge; its journal has the details")

    async def _know_caller(self, call: Call) -> None:
        """Wait for the caller's credentials, before the call is performed."""
        # Cancelled if the daemon stops meanwhile, which must not keep the reply back.
        with suppress(asyncio.CancelledError):
            await self._callers.known(call.sender)

    def _check_allowed(self, call: Call) -> None:
        if call.refusal is not None:
            raise call.refusal
        if self._is_over:
            raise Timeout(STOPPING_TEXT)
        if call.spec.is_open_to_all or call.caller is None:
            return
        if call.caller.uid == UNKNOWN_UID:
            raise AccessDenied(
                f"{call.spec.name}: not done: the caller left the bus before it could be identified"
            )
