# SPDX-License-Identifier: Apache-2.0
"""Our values, and JSON values, as D-Bus values (docs/design.md, Info as D-Bus values)."""

from typing import Any, Final

from ocibridge.model import Caller, Exit

Variant = tuple[str, Any]

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
UINT64_MAX: Final = (1 << 64) - 1
# What a D-Bus string cannot hold: NUL cuts it silently, a lone surrogate has no UTF-8 form.
UNFIT: Final = {0: "\ufffd"} | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def text(value: str) -> str:
    """`value` as D-Bus can carry it."""
    return value.translate(UNFIT) if "\0" in value or not value.isascii() else value


def dictionary(value: dict[str, Any]) -> dict[str, Variant]:
    """A JSON object as `a{sv}`; a null is left out."""
    return {text(key): variant(item) for key, item in value.items() if item is not None}


def variant(value: Any) -> Variant:
    """A JSON value with its signature."""
    match value:
        case bool():
            return "b", value
        case int():
            return _integer(value)
        case float():
            return "d", value
        case str():
            return "s", text(value)
        case dict():
            return "a{sv}", dictionary(value)
        case list():
            return _array(value)
        case _:
            return "av", []  # null, where it cannot be left out


def _integer(value: int) -> Variant:
    if INT64_MIN <= value < 0:
        return "x", value
    if 0 <= value <= UINT64_MAX:
        return "t", value
    return "d", float(value)


def _array(values: list[Any]) -> Variant:
    if values and all(type(v) is int for v in values):
        if all(0 <= v <= UINT64_MAX for v in values):
            return "at", values
        if all(INT64_MIN <= v <= INT64_MAX for v in values):
            return "ax", values
    return "av", [variant(v) for v in values]


def exit_record(record: Exit) -> dict[str, Variant]:
    """An exit as `a{sv}`; unknown fields are left out."""
    fields: dict[str, Variant] = {"Reason": ("s", record.reason.value)}
    if record.wait_status is not None:
        fields["WaitStatus"] = "i", record.wait_status
    if record.exit_code is not None:
        fields["ExitCode"] = "i", record.exit_code
    if record.signal is not None:
        fields |= {"Signal": ("i", record.signal), "CoreDumped": ("b", record.core_dumped)}
    if record.requested_by is not None:
        fields["RequestedBy"] = "a{sv}", _requester(record.requested_by)
    return fields | {"StartedAt": ("t", record.started_at), "StoppedAt": ("t", record.stopped_at)}


def _requester(caller: Caller) -> dict[str, Variant]:
    """Who asked for the stop; unknown fields are left out."""
    fields: dict[str, Variant] = {"Sender": ("s", caller.sender)}
    if caller.uid >= 0:
        fields["Uid"] = "u", caller.uid
    if caller.pid >= 0:
        fields |= {"Pid": ("u", caller.pid), "Comm": ("s", text(caller.comm))}
    return fields
