"""The boundary that every call passes: in, it is checked and timed; out, it is translated and logged, once.

python-sdbus would answer with Python's exception names, and not at all where a result does not fit its signature
(reference: sdbus-facts, Serving). Here every call gets exactly one reply, from the closed list of errors.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from ocibridge.api import values
from ocibridge.api.callers import Caller, Callers
from ocibridge.arguments import check_size
from ocibridge.bus import Bus, Message
from ocibridge.errors import BridgeError, Failed, Timeout, shown
from ocibridge.members import Method

log = structlog.get_logger()

STOPPING_TEXT: Final = "ocibridge is stopping"


@dataclass(frozen=True)
class Member:
    """A method of ours: what it is called, what it takes and gives, who does it.

    `run` gets the in arguments and returns the out arguments as a tuple. `changes`: it is logged, with who asked.
    """

    name: str
    signature: str
    arguments: tuple[str, ...]
    result_signature: str
    results: tuple[str, ...]
    run: Callable[..., Awaitable[tuple[Any, ...]]]
    changes: bool = False


class Boundary:
    """Answers the calls of all members."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._callers = Callers(bus)
        self._under_way: set[asyncio.Task[None]] = set()

    def method(self, member: Member) -> Method:
        """The member as the bus serves it."""

        def called(message: Message) -> None:
            # A task of its own: it starts one turn later, and so stays in order with the signals of that turn.
            task = asyncio.get_running_loop().create_task(self._answer(member, message))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

        return Method(member.name, member.signature, member.arguments, member.result_signature, member.results, called)

    async def drain(self, seconds: float) -> None:
        """Let the calls under way end, and tell those that do not in time that we are stopping."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)
        late = set(self._under_way)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _answer(self, member: Member, message: Message) -> None:
        began = time.monotonic()
        caller = self._callers.look_up(message.sender or "") if member.changes else None  # asked while the call runs
        arguments: tuple[Any, ...] = ()
        result: tuple[Any, ...] = ()
        refusal: BridgeError | None = None
        try:
            arguments = message.parse_to_tuple()
            for name, value in zip(member.arguments, arguments, strict=True):
                check_size(name, *(value if isinstance(value, list) else [value]))
            result = await member.run(*arguments)
            reply = message.create_reply()
            if member.result_signature:
                reply.append_data(member.result_signature, *result)
        except BridgeError as error:
            # Without its traceback, whose frames hold this one and with it the arguments: megabytes, until the next gc.
            refusal = error.with_traceback(None)
            refusal.__context__ = None
        except asyncio.CancelledError:
            refusal = Timeout(STOPPING_TEXT)
        except Exception:
            log.exception("a call failed in a way that nobody foresaw", METHOD=member.name)
            refusal = Failed(f"{member.name} failed inside ocibridge; its journal has the details")
        if refusal is not None:
            reply = message.create_error_reply(refusal.dbus_name, values.text(refusal.text))
        who = None if caller is None else await _known(caller)  # before the reply: a caller that has it may leave at once
        if message.expect_reply:
            self._bus.send(reply, large=member.result_signature.startswith("a"))
        if who is not None:
            _record(member, arguments, result, refusal, who, time.monotonic() - began)
        elif refusal is not None:
            log.debug(f"{member.name} refused: {refusal.text}", METHOD=member.name, SENDER=message.sender, ERROR_NAME=refusal.dbus_name)


async def _known(caller: "asyncio.Task[Caller]") -> Caller | None:
    """Who it is; None where we are told to stop meanwhile, which must not keep the reply back."""
    try:
        return await asyncio.shield(caller)  # others of the same sender wait for it too
    except asyncio.CancelledError:
        return None


def _record(
    member: Member, arguments: tuple[Any, ...], result: tuple[Any, ...], refusal: BridgeError | None, caller: Caller, seconds: float
) -> None:
    """One entry a changing call, refused or not, with who asked."""
    fields: dict[str, Any] = {
        "METHOD": member.name,
        "SENDER": caller.sender,
        "CALLER_UID": caller.uid,
        "CALLER_PID": caller.pid,
        "CALLER_COMM": caller.comm,
        "DURATION_USEC": round(seconds * 1e6),
    }
    subject = ""
    if arguments and member.arguments[0] == "containerId":
        subject = f" {shown(arguments[0])}"
        fields["CONTAINER_ID"] = arguments[0][:256]
    what = f"{member.name}{subject} by {caller}, {seconds * 1e3:.1f} ms"
    if refusal is None:
        fields |= {name.upper(): value for name, value in zip(member.results, result, strict=True)}
        log.info(what, **fields)
    else:
        log.warning(f"{what}: refused: {refusal.text}", ERROR_NAME=refusal.dbus_name, **fields)
