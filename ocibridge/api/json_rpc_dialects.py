# SPDX-License-Identifier: Apache-2.0
"""The two dialects of JSON-RPC: RDK has two plugins of this name (docs/design.md, JSON-RPC).

Their methods are the same. They differ in how a request names a method, in the words for states,
and in what a refusal looks like.
"""

from typing import Any, Final, Protocol

from ocibridge.api.json_rpc_params import InvalidParams, JsonMethod
from ocibridge.errors import BridgeError, InvalidArgs, NoSuchContainer
from ocibridge.model import SubState

INVALID_PARAMS: Final = {"code": -32602, "message": "Invalid params"}
GENERAL: Final = {"code": 1, "message": "ERROR_GENERAL"}  # Thunder's only other error
# RuntimeManager compares it, so that it can end a container twice.
NOT_FOUND_REASON: Final = "Container not found"
PLUGIN_NAME: Final = "OCIContainer"


class Dialect(Protocol):
    """How a call is answered: the member `result` or `error` of the response."""

    def success(self, method: JsonMethod, result: Any) -> dict[str, Any]:
        """The answer to a call that succeeded. `result`: the operation's."""

    def refusal(self, method: JsonMethod, refusal: BridgeError) -> dict[str, Any]:
        """The answer to a call that was refused."""


class OldPlugin:
    """The plugin 1.0.4 ("the document"): a refusal is an error."""

    def success(self, method: JsonMethod, result: Any) -> dict[str, Any]:
        """See `Dialect`."""
        members = method.members(result, lambda substate: substate.state)
        return {"result": members | {"success": True}}

    def refusal(self, method: JsonMethod, refusal: BridgeError) -> dict[str, Any]:
        """See `Dialect`. A value that is never valid is an invalid parameter."""
        del method
        kind = INVALID_PARAMS if isinstance(refusal, InvalidArgs) else GENERAL
        return {"error": _error(kind, refusal)}


class IOCIContainer:
    """The plugin IOCIContainer 1.0.0: a refusal is a result with `success` false."""

    def success(self, method: JsonMethod, result: Any) -> dict[str, Any]:
        """See `Dialect`."""
        members = method.members(result, _upper)
        found = {name: members[name] for name in method.zeros}
        return {"result": found | {"success": True, "errorReason": ""}}

    def refusal(self, method: JsonMethod, refusal: BridgeError) -> dict[str, Any]:
        """See `Dialect`. Only parameters that do not fit the method are an error."""
        if isinstance(refusal, InvalidParams):
            return {"error": _error(INVALID_PARAMS, refusal)}
        reason = NOT_FOUND_REASON if isinstance(refusal, NoSuchContainer) else refusal.text
        return {"result": {**method.zeros, "success": False, "errorReason": reason}}


OLD_PLUGIN: Final = OldPlugin()
IOCICONTAINER: Final = IOCIContainer()


def dialect_of(name: str, callsign: str) -> tuple[Dialect | None, str]:
    """The dialect of a request that names the method so, and the method's own name.

    With a version after the callsign, or without both, it is the old plugin's; with the callsign
    alone, IOCIContainer's. None if what stands before the method is not ours.
    """
    before, dot, word = name.rpartition(".")
    if not dot:
        return OLD_PLUGIN, word
    if _is_ours(before, callsign):
        return IOCICONTAINER, word
    plugin, _, version = before.rpartition(".")
    is_versioned = version.isascii() and version.isdigit() and _is_ours(plugin, callsign)
    return OLD_PLUGIN if is_versioned else None, word


def _is_ours(plugin: str, callsign: str) -> bool:
    return plugin.endswith(PLUGIN_NAME) or plugin == callsign


def _upper(substate: SubState) -> str:
    return substate.value.upper()


def _error(kind: dict[str, Any], refusal: BridgeError) -> dict[str, Any]:
    """An error of ours: Thunder's code and message, and our D-Bus error as data."""
    return kind | {"data": {"error": refusal.dbus_name, "reason": refusal.text}}
