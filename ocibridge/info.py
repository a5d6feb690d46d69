"""Dobby's GetInfo text, as values (design 3; facts 4)."""

import json
from typing import Any, Final

from ocibridge.errors import DobbyRefused, shown
from ocibridge.model import Container, State, SubState

DEEPEST: Final = 16
LONGEST_INTEGER: Final = 20  # characters of any 64-bit integer

# GetInfo spells states its own way (facts 4).
STATES: Final = {s.value.lower(): s.state for s in SubState} | {"unknown": State.INVALID}


def parsed(text: str, container: Container) -> dict[str, Any]:
    """The JSON object, nothing dropped, its `state` in the document's words. Raises DobbyRefused."""
    try:
        value = json.loads(text, parse_int=_integer, parse_constant=_no_json)
    except (ValueError, RecursionError) as error:
        raise DobbyRefused(f"getContainerInfo of {container}: what Dobby sent is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise DobbyRefused(f"getContainerInfo of {container}: what Dobby sent is JSON, but not an object: {shown(text)}")
    if _is_deeper(value, DEEPEST):
        raise DobbyRefused(f"getContainerInfo of {container}: what Dobby sent is nested deeper than {DEEPEST}")
    if isinstance(value.get("state"), str):
        value["state"] = STATES.get(value["state"], State.INVALID).value
    return value


def _integer(digits: str) -> int | float:
    """Beyond 64 bits it becomes a float anyway, and Python refuses to read very long ones."""
    return int(digits) if len(digits) <= LONGEST_INTEGER else float(digits)


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, dict | list) and (levels == 0 or any(_is_deeper(item, levels - 1) for item in inner))
