"""Dobby's GetInfo text, as values and as the JSON that it is (design 3, 9; facts 4)."""

import re
from typing import Any, Final

import msgspec
from msgspec import Raw

from ocibridge.bridge import json_text
from ocibridge.errors import DobbyRefused
from ocibridge.model import Container, State, SubState
from ocibridge.text import quoted

MAX_DEPTH: Final = 16
# Characters. As D-Bus values it may be six times as large, and a bus throws out who sends 32 MiB.
MAX_CHARACTERS: Final = 4 << 20

# GetInfo spells states its own way (facts 4).
STATES: Final = {s.value.lower(): s.state for s in SubState} | {"unknown": State.INVALID}

# An escape of a JSON string; group 1: of a surrogate that is not half of a pair.
HIGH, LOW = "u[dD][89abAB][0-9a-fA-F]{2}", "u[dD][c-fC-F][0-9a-fA-F]{2}"
ESCAPES: Final = re.compile(rf"\\(?:{HIGH}\\{LOW}|({HIGH}|{LOW})|.)")


class Info:
    """What Dobby tells of a container: a JSON object, nothing dropped, its `state` in the document's words.

    Raises DobbyRefused where `text` is none.
    """

    def __init__(self, text: str, container: Container) -> None:
        self._text = text
        self.value = _parsed(text, container)
        if isinstance(self.value.get("state"), str):
            self.value["state"] = _respelt(self.value["state"])

    @property
    def json(self) -> bytes:
        """Dobby's own text without the blanks between its tokens: the order, and values as they came but for `state`.

        msgspec removes the blanks and finds the members without building any of their values. As on D-Bus, of members of
        one name the last counts.
        """
        try:
            return self._compact(self._text.encode())
        except (
            msgspec.DecodeError,
            UnicodeEncodeError,
        ):  # a lone surrogate, which the standard library reads and msgspec does not
            return self._compact_with_surrogates()

    def _compact(self, text: bytes) -> bytes:
        members = msgspec.json.decode(msgspec.json.format(text, indent=-1), type=dict[str, Raw])
        state = self.value.get("state")
        if isinstance(state, str):
            members["state"] = Raw(msgspec.json.encode(state))
        return msgspec.json.encode(members)

    def _compact_with_surrogates(self) -> bytes:
        """Their backslashes are a character meanwhile that the text does not have."""
        used = set(self._text)
        spare = next(c for c in map(chr, range(0xE000, 0x110000)) if c not in used)
        hidden = ESCAPES.sub(
            lambda found: f"{spare}{found[1]}" if found[1] else found[0], self._text
        )
        return self._compact(hidden.encode(errors="replace")).replace(spare.encode(), b"\\")


def _respelt(state: str) -> str:
    return STATES.get(state, State.INVALID).value


def _parsed(text: str, container: Container) -> dict[str, Any]:
    if len(text) > MAX_CHARACTERS:
        raise DobbyRefused(
            f"getContainerInfo of {container}: what Dobby sent is larger than {MAX_CHARACTERS >> 20} MiB"
        )
    try:
        value = json_text.parse(text)
    except ValueError as error:
        raise DobbyRefused(
            f"getContainerInfo of {container}: what Dobby sent is not JSON ({error})"
        ) from None
    if not isinstance(value, dict):
        raise DobbyRefused(
            f"getContainerInfo of {container}: what Dobby sent is JSON, but not an object: {quoted(text)}"
        )
    if _is_deeper(value, MAX_DEPTH):
        raise DobbyRefused(
            f"getContainerInfo of {container}: what Dobby sent is nested deeper than {MAX_DEPTH}"
        )
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, dict | list) and (
        levels == 0 or any(_is_deeper(item, levels - 1) for item in inner)
    )
