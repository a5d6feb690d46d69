# SPDX-License-Identifier: Apache-2.0
"""org.rdk.OCIContainer1.JsonRpc: requests as RDK's plugins take them (docs/design.md, JSON-RPC).

Each request is a call of the method of that name, and is logged as one. Requests, notifications,
batches and errors are as JSON-RPC 2.0 defines them (https://www.jsonrpc.org/specification).
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Raw

from ocibridge.api.call import Call
from ocibridge.api.dispatcher import Dispatcher
from ocibridge.api.json_rpc_dialects import dialect_of
from ocibridge.api.json_rpc_params import METHODS, InvalidParams, Params
from ocibridge.api.methods import MethodSpec, one_result
from ocibridge.bus.connection import Bus, Served
from ocibridge.bus.interface import Interface, Signal
from ocibridge.errors import InvalidArgs, LimitsExceeded
from ocibridge.model import Caller
from ocibridge.names import JSON_RPC_INTERFACE, OBJECT_PATH
from ocibridge.text import readable

VERSION: Final = 2.0
# Room for a dobbySpec of 1 MiB in which every character is escaped.
MAX_REQUEST_BYTES: Final = 8 << 20
MAX_BATCH: Final = 64
# Beyond so many bytes of answers, the rest of a batch is refused: the bus disconnects a client
# that sends a message of 32 MiB.
MAX_ANSWERS_BYTES: Final = 16 << 20
NOTIFICATION: Final = Signal("notification", "s", ("json",))
# The signals that Thunder sends, and those of them whose descriptor is a string.
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
TOO_MUCH: Final = LimitsExceeded(
    f"not done: the answers to this batch exceed {MAX_ANSWERS_BYTES >> 20} MiB; "
    "send the rest in another batch"
)
NULL: Final = Raw(b"null")
ID_KINDS: Final = set('"-0123456789n')  # the first characters of a string, a number and null


class _Request(msgspec.Struct):
    """A request, unparsed. Unknown members are ignored; missing ones are empty."""

    jsonrpc: Raw = Raw()
    method: Raw = Raw()
    params: Raw = Raw()
    id: Raw = Raw()


class JsonRpc:
    """`specs`: the manager's methods. `callsign`: a prefix that method names may have."""

    def __init__(
        self, bus: Bus, dispatcher: Dispatcher, specs: Iterable[MethodSpec], callsign: str
    ) -> None:
        self._bus = bus
        self._dispatcher = dispatcher
        self._callsign = callsign
        by_name = {spec.name: spec for spec in specs}
        self._specs = {
            name: replace(by_name[name], arguments=dict.fromkeys(method.params.names(), ""))
            for name, method in METHODS.items()
        }
        self._served: Served | None = None

    def serve(self) -> None:
        """Put the interface on the manager's object."""
        invoke = MethodSpec(
            "invoke",
            self._invoke,
            {"request": "s"},
            {"response": "s"},
            one_result,
            needs_caller=True,
            max_bytes=MAX_REQUEST_BYTES,
        )
        self._served = self._bus.serve(
            OBJECT_PATH,
            Interface(JSON_RPC_INTERFACE, (self._dispatcher.method(invoke),), (), (NOTIFICATION,)),
        )

    def notify(self, signal: Signal, arguments: tuple[Any, ...], json_only: dict[str, Any]) -> None:
        """Send a signal of org.rdk.OCIContainer1 in Thunder's form, if Thunder has it.

        `json_only`: members that the signal itself does not have.
        """
        if signal.name not in NOTIFIED:
            return
        params = dict(zip(signal.arguments, arguments, strict=True)) | json_only
        if signal.name in WITH_TEXT:
            params["descriptor"] = str(params["descriptor"])
        text = _encoded(
            {"jsonrpc": "2.0", "method": f"{self._callsign}.1.{signal.name}", "params": params}
        )
        self._bus.emit(
            OBJECT_PATH, JSON_RPC_INTERFACE, NOTIFICATION.name, NOTIFICATION.signature, text
        )

    async def _invoke(self, text: str, caller: Caller) -> str:
        """The answer to a request or a batch; "" if there is none to give."""
        try:
            whole = msgspec.json.decode(text, type=Raw)
            is_batch = _kind(whole) == "["
            batch = msgspec.json.decode(whole, type=list[Raw]) if is_batch else [whole]
            if not 0 < len(batch) <= MAX_BATCH:
                return _encoded(_failure(NULL, INVALID_REQUEST))
            # Parse all before the first is performed: one may be nested too deeply to be read.
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
        """The answer, None to a notification. `is_too_late`: refuse it."""
        if not _is_valid(request):
            return _failure(request.id if _kind(request.id) in ID_KINDS else NULL, INVALID_REQUEST)
        body = await self._body(request, caller, is_too_late=is_too_late)
        return {"jsonrpc": "2.0", "id": request.id} | body if _kind(request.id) else None

    async def _body(
        self, request: _Request, caller: Caller, *, is_too_late: bool
    ) -> dict[str, Any]:
        """The answer's member `result` or `error`."""
        name = msgspec.json.decode(request.method, type=str)
        dialect, word = dialect_of(name, self._callsign)
        method = METHODS.get(word)
        if dialect is None or method is None:
            return {"error": METHOD_NOT_FOUND}
        if is_too_late:
            return dialect.refusal(method, TOO_MUCH)
        call = Call(self._specs[word], caller.sender, caller=caller)
        arguments = partial(_arguments, method.params, request.params)
        await self._dispatcher.perform_inner(call, arguments)
        if call.refusal is not None:
            return dialect.refusal(method, call.refusal)
        return dialect.success(method, call.result)


def _kind(raw: Raw) -> str:
    """The first character, which tells the type of a JSON value; "" of a missing one.

    msgspec has left out the blanks before it. The text, which may be megabytes, is not copied.
    """
    return bytes(memoryview(raw)[:1]).decode()


def _is_valid(request: _Request) -> bool:
    """Whether it is a request (JSON-RPC 2.0, section 4)."""
    return (
        _is_version_2(request.jsonrpc)
        and _kind(request.method) == '"'
        and _kind(request.params) in {"", "{", "[", "n"}
        and _kind(request.id) in {"", *ID_KINDS}
    )


def _is_version_2(version: Raw) -> bool:
    """Whether it is the text "2.0", or a number equal to 2, as IOCIContainer's document has it."""
    if _kind(version) == '"':
        return bytes(memoryview(version)[:6]) == b'"2.0"'
    try:
        return msgspec.json.decode(version, type=float) == VERSION
    except (msgspec.DecodeError, RecursionError):  # no number
        return False


def _arguments(kind: type[Params], given: Raw) -> tuple[Any, ...]:
    """The operation's arguments. Raises InvalidParams, InvalidArgs, naming the parameter."""
    if _kind(given) == "[":
        raise InvalidParams("params: expected an object, since the parameters have names")
    try:
        arguments = msgspec.json.decode(
            given if _kind(given) == "{" else b"{}", type=kind
        ).arguments()
    except msgspec.ValidationError as error:
        raise InvalidParams(f"params: {readable(error)}") from None
    except RecursionError:
        raise InvalidParams("params: nested too deeply") from None
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


def _failure(request_id: Raw, error: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "error": error}


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()
