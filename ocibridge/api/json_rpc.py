"""org.rdk.OCIContainer1.JsonRpc: the document's own requests, answered as it shows them (design 9).

A face of org.rdk.OCIContainer1: each request is a call of the member of that name, and logged as one. What a request,
a notification, a batch and an error are is JSON-RPC 2.0's (https://www.jsonrpc.org/specification).
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Raw

from ocibridge.api.call import Call, Member, itself
from ocibridge.api.dispatcher import Dispatcher
from ocibridge.api.json_rpc_params import METHODS, Params
from ocibridge.bus.connection import Bus, Served
from ocibridge.bus.interface import Interface, Signal
from ocibridge.errors import BridgeError, InvalidArgs, LimitsExceeded
from ocibridge.model import Caller
from ocibridge.names import JSON_RPC_INTERFACE, OBJECT_PATH
from ocibridge.text import readable

# Room for a dobbySpec of 1 MiB whose every character is escaped.
MAX_REQUEST_BYTES: Final = 8 << 20
MAX_BATCH: Final = 64
# Bytes of the answers to a batch, beyond which no more of it is done: a bus throws out who sends 32 MiB.
MAX_ANSWERS_BYTES: Final = 16 << 20
NOTIFICATION: Final = Signal("notification", "s", ("json",))
# Those that Thunder sends, and of them those that have the descriptor as text.
NOTIFIED: Final = {
    "onContainerStarted",
    "onContainerStopped",
    "onContainerFailed",
    "onContainerStateChanged",
}
WITH_TEXT: Final = {"onContainerStarted", "onContainerStopped"}

PARSE_ERROR: Final = {"code": -32700, "message": "Parse error"}
INVALID_REQUEST: Final = {"code": -32600, "message": "Invalid Request"}
METHOD_NOT_FOUND: Final = {"code": -32601, "message": "Method not found"}
INVALID_PARAMS: Final = {"code": -32602, "message": "Invalid params"}
GENERAL: Final = {"code": 1, "message": "ERROR_GENERAL"}  # all that Thunder ever says
TOO_MUCH: Final = LimitsExceeded(
    f"not done: the answers to this batch have {MAX_ANSWERS_BYTES >> 20} MiB already; ask again for the rest"
)
NULL: Final = Raw(b"null")
ID_KINDS: Final = set('"-0123456789n')  # how a string, a number and null begin


class _Request(msgspec.Struct):
    """A request as it came; what it has more is ignored, what it has not is no text at all."""

    jsonrpc: Raw = Raw()
    method: Raw = Raw()
    params: Raw = Raw()
    id: Raw = Raw()


class JsonRpc:
    """`members`: those of the manager, by name. `callsign`: may stand before a method's name, as may the document's."""

    def __init__(
        self, bus: Bus, dispatcher: Dispatcher, members: Iterable[Member], callsign: str
    ) -> None:
        self._bus = bus
        self._dispatcher = dispatcher
        self._callsign = callsign
        by_name = {member.name: member for member in members}
        self._methods = {
            name: (replace(by_name[name], arguments=params.names()), params, to_dbus)
            for name, (params, to_dbus) in METHODS.items()
        }
        self._served: Served | None = None

    def serve(self) -> None:
        """Put the interface on the manager's object."""
        invoke = Member(
            "invoke",
            "s",
            ("request",),
            "s",
            ("response",),
            self._invoke,
            itself,
            needs_caller=True,
            largest=MAX_REQUEST_BYTES,
        )
        self._served = self._bus.serve(
            OBJECT_PATH,
            Interface(JSON_RPC_INTERFACE, (self._dispatcher.method(invoke),), (), (NOTIFICATION,)),
        )

    def notify(self, signal: Signal, arguments: tuple[Any, ...]) -> None:
        """Send a signal of org.rdk.OCIContainer1 as Thunder would, if it does."""
        if signal.name not in NOTIFIED:
            return
        params = dict(zip(signal.arguments, arguments, strict=True))
        if signal.name in WITH_TEXT:
            params["descriptor"] = str(params["descriptor"])
        text = _encoded(
            {"jsonrpc": "2.0", "method": f"{self._callsign}.1.{signal.name}", "params": params}
        )
        self._bus.emit(
            OBJECT_PATH, JSON_RPC_INTERFACE, NOTIFICATION.name, NOTIFICATION.signature, text
        )

    async def _invoke(self, text: str, caller: Caller) -> str:
        """The answer to a request or a batch; "" where none is due."""
        try:
            whole = msgspec.json.decode(text, type=Raw)
            is_batch = _kind(whole) == "["
            batch = msgspec.json.decode(whole, type=list[Raw]) if is_batch else [whole]
            if not 0 < len(batch) <= MAX_BATCH:
                return _encoded(_failure(NULL, INVALID_REQUEST))
            # All of them before the first is performed: one may be nested more deeply than can be read.
            requests = [
                msgspec.json.decode(raw, type=_Request) if _kind(raw) == "{" else _Request()
                for raw in batch
            ]
        except (msgspec.DecodeError, RecursionError):
            return _encoded(_failure(NULL, PARSE_ERROR))
        if is_batch:
            return await self._answer_batch(requests, caller)
        answer = await self._answer(requests[0], caller)
        return _encoded(answer) if answer else ""

    async def _answer_batch(self, batch: list[_Request], caller: Caller) -> str:
        answers: list[str] = []
        size = 0
        for each in batch:
            answer = await self._answer(each, caller, is_too_late=size > MAX_ANSWERS_BYTES)
            if answer:
                answers.append(_encoded(answer))
                size += len(answers[-1])
        return f"[{','.join(answers)}]" if answers else ""

    async def _answer(
        self, request: _Request, caller: Caller, *, is_too_late: bool = False
    ) -> dict[str, Any] | None:
        """None to a notification. `is_too_late`: it is not done any more."""
        if not _is_valid(request):
            return _failure(request.id if _kind(request.id) in ID_KINDS else NULL, INVALID_REQUEST)
        body = {"error": _refusal(TOO_MUCH)} if is_too_late else await self._body(request, caller)
        return {"jsonrpc": "2.0", "id": request.id} | body if _kind(request.id) else None

    async def _body(self, request: _Request, caller: Caller) -> dict[str, Any]:
        """The member `result` or `error`."""
        method = self._methods.get(self._word(msgspec.json.decode(request.method, type=str)))
        if method is None:
            return {"error": METHOD_NOT_FOUND}
        member, params, to_dbus = method
        call = Call(member, caller.sender, caller)
        await self._dispatcher.perform_inner(call, partial(_arguments, params, request.params))
        if call.refusal is not None:
            return {"error": _refusal(call.refusal)}
        return {"result": to_dbus(call.result) | {"success": True}}

    def _word(self, name: str) -> str:
        """The method's own name; "" where what stands before it is not ours."""
        before, dot, word = name.rpartition(".")
        ours = not dot or before.endswith("OCIContainer.1") or before == f"{self._callsign}.1"
        return word if ours else ""


def _kind(raw: Raw) -> str:
    """The first character, which tells the type of a JSON value; "" of one that is not there.

    msgspec has left out the blanks before it. The text itself, which may be megabytes, is not copied.
    """
    return bytes(memoryview(raw)[:1]).decode()


def _is_valid(request: _Request) -> bool:
    """Whether it is a request at all: the specification's section 4."""
    return (
        bytes(memoryview(request.jsonrpc)[:6]) == b'"2.0"'
        and _kind(request.method) == '"'
        and _kind(request.params) in {"", "{", "[", "n"}
        and _kind(request.id) in {"", *ID_KINDS}
    )


def _arguments(kind: type[Params], given: Raw) -> tuple[Any, ...]:
    """Raises InvalidArgs, naming the parameter."""
    if _kind(given) == "[":
        raise InvalidArgs("params: expected an object, since the parameters have names")
    try:
        arguments = msgspec.json.decode(
            given if _kind(given) == "{" else b"{}", type=kind
        ).arguments()
    except msgspec.ValidationError as error:
        raise InvalidArgs(f"params: {readable(error)}") from None
    except RecursionError:
        raise InvalidArgs("params: nested too deeply") from None
    for name, value in zip(kind.names(), arguments, strict=True):
        if any(
            "\0" in text
            for text in (value if isinstance(value, list) else [value])
            if isinstance(text, str)
        ):
            raise InvalidArgs(
                f"params: {name}: has a NUL character, which neither D-Bus nor Dobby can carry"
            )
    return arguments


def _refusal(refusal: BridgeError) -> dict[str, Any]:
    """An error of ours: Thunder's code and message, with what it never told."""
    kind = INVALID_PARAMS if isinstance(refusal, InvalidArgs) else GENERAL
    return kind | {"data": {"error": refusal.dbus_name, "reason": refusal.text}}


def _failure(request_id: Raw, error: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "error": error}


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()
