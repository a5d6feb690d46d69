"""Values of ours, and of JSON, as values of D-Bus, nothing dropped (design 3, 5)."""

from typing import Any, Final

from ocibridge.model import Caller, Exit

Variant = tuple[str, Any]

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
UINT64_MAX: Final = (1 << 64) - 1
# What a D-Bus string cannot hold: NUL ends it silently, a lone surrogate has no UTF-8.
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
    """An exit as `a{sv}`; what is not known is left out."""
    told: dict[str, Variant] = {"Reason": ("s", record.reason.value)}
    if record.wait_status is not None:
        told["WaitStatus"] = "i", record.wait_status
    if record.exit_code is not None:
        told["ExitCode"] = "i", record.exit_code
    if record.signal is not None:
        told |= {"Signal": ("i", record.signal), "CoreDumped": ("b", record.core_dumped)}
    if record.requested_by is not None:
        told["RequestedBy"] = "a{sv}", _requester(record.requested_by)
    return told | {"StartedAt": ("t", record.started_at), "StoppedAt": ("t", record.stopped_at)}


def _requester(caller: Caller) -> dict[str, Variant]:
    """Who asked; without what the bus did not tell in time."""
    told: dict[str, Variant] = {"Sender": ("s", caller.sender)}
    if caller.uid >= 0:
        told["Uid"] = "u", caller.uid
    if caller.pid >= 0:
        told |= {"Pid": ("u", caller.pid), "Comm": ("s", text(caller.comm))}
    return told
