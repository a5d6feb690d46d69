# SPDX-License-Identifier: Apache-2.0
"""The JSON-RPC interface without a bus and without Dobby."""

import json
from typing import Any, cast

from ocibridge.api.call import Call
from ocibridge.api.dispatcher import Dispatcher
from ocibridge.api.json_rpc import JsonRpc
from ocibridge.api.json_rpc_params import METHODS
from ocibridge.api.methods import MethodSpec
from ocibridge.bridge.info import Info
from ocibridge.bus.connection import Bus
from ocibridge.errors import BridgeError, NoSuchContainer
from ocibridge.model import Caller, Container, SubState

RESULTS = {
    "listContainers": [(91, "app")],
    "getContainerState": ("app", SubState.RUNNING),
    "getContainerInfo": Info("{}", Container("app", 91)),
    "startContainer": 91,
    "startContainerFromDobbySpec": 91,
}


class Operations:
    """In the place of the dispatcher: each operation succeeds, except for an unknown container."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def perform_inner(self, call: Call, arguments: Any) -> None:
        try:
            given = arguments()
            self.calls.append((call.spec.name, *given))
            if given[:1] == ("nosuch",):
                raise NoSuchContainer("there is no container nosuch")
            call.result = RESULTS.get(call.spec.name)
        except BridgeError as error:
            call.refusal = error


async def never(*_: Any) -> None:
    raise AssertionError("an operation is performed by the boundary alone")


def face(callsign: str = "org.rdk.OCIContainer") -> tuple[JsonRpc, Operations]:
    operations = Operations()
    members = [MethodSpec(name, never) for name in METHODS]
    return JsonRpc(cast("Bus", None), cast("Dispatcher", operations), members, callsign), operations


def invoke(text: str, callsign: str = "org.rdk.OCIContainer") -> str:
    """A face that waits for nothing needs no loop."""
    coroutine = face(callsign)[0]._invoke(text, Caller(":1.1"))
    try:
        coroutine.send(None)
    except StopIteration as done:
        return str(done.value)
    raise AssertionError("it waits for something")


def answer(request: Any, callsign: str = "org.rdk.OCIContainer") -> Any:
    said = invoke(request if isinstance(request, str) else json.dumps(request), callsign)
    return json.loads(said) if said else None
