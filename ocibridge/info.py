"""Dobby's GetInfo text, as values (design 3; facts 4)."""

from typing import Any, Final

from ocibridge import json_text
from ocibridge.errors import DobbyRefused, shown
from ocibridge.model import Container, State, SubState

DEEPEST: Final = 16

# GetInfo spells states its own way (facts 4).
STATES: Final = {s.value.lower(): s.state for s in SubState} | {"unknown": State.INVALID}


def parsed(text: str, container: Container) -> dict[str, Any]:
    """The JSON object, nothing dropped, its `state` in the document's words. Raises DobbyRefused."""
    try:
        value = json_text.parse(text)
    except ValueError as error:
        raise DobbyRefused(f"getContainerInfo of {container}: what Dobby sent is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise DobbyRefused(f"getContainerInfo of {container}: what Dobby sent is JSON, but not an object: {shown(text)}")
    if _is_deeper(value, DEEPEST):
        raise DobbyRefused(f"getContainerInfo of {container}: what Dobby sent is nested deeper than {DEEPEST}")
    if isinstance(value.get("state"), str):
        value["state"] = STATES.get(value["state"], State.INVALID).value
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, dict | list) and (levels == 0 or any(_is_deeper(item, levels - 1) for item in inner))
