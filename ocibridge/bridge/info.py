# SPDX-License-Identifier: Apache-2.0
"""The reply to GetInfo, as Python values and as compact JSON.

(docs/design.md, getContainerInfo; JSON-RPC; docs/dobby.md, GetInfo)
"""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw

from ocibridge.bridge import json_text
from ocibridge.errors import DobbyRefused
from ocibridge.model import Container, SubState
from ocibridge.text import quoted

MAX_DEPTH: Final = 16
# As D-Bus values it may be six times as large, and the bus disconnects the sender of 32 MiB.
MAX_CHARACTERS: Final = 4 << 20

# GetInfo's words for states (docs/dobby.md, States and their numbers).
SUBSTATES: Final = {substate.value.lower(): substate for substate in SubState}

# Escapes in JSON strings. Group 1: a lone surrogate, without its backslash.
HIGH, LOW = "u[dD][89abAB][0-9a-fA-F]{2}", "u[dD][c-fC-F][0-9a-fA-F]{2}"
ESCAPES: Final = re.compile(rf"\\(?:{HIGH}\\{LOW}|({HIGH}|{LOW})|.)")


class Info:
    """Dobby's JSON object about a container, complete, with `state` respelt.

    `value` has the words of `State`. Raises DobbyRefused if `text` is not a JSON object within the
    limits.
    """

    def __init__(self, text: str, container: Container) -> None:
        self._text = text
        self.value = _parsed(text, container)
        word = self.value.get("state")
        self._substate = (
            # "unknown" is Dobby's own word for a state that it does not know either.
            SUBSTATES.get(word, SubState.INVALID) if isinstance(word, str) else None
        )
        if self._substate is not None:
            self.value["state"] = self._substate.state.value

    def json(self, spelling: Callable[[SubState], str]) -> bytes:
        """Dobby's text without whitespace; order and values are kept, except `state`.

        `spelling` gives the word for its state.
        msgspec does this without building the members' values. Of members with the same name, the
        last one counts, as on D-Bus.
        """
        try:
            return self._compact(self._text.encode(), spelling)
        except (msgspec.DecodeError, UnicodeEncodeError):  # lone surrogates, which msgspec refuses
            return self._compact_with_surrogates(spelling)

    def _compact(self, text: bytes, spelling: Callable[[SubState], str]) -> bytes:
        members = msgspec.json.decode(msgspec.json.format(text, indent=-1), type=dict[str, Raw])
        if self._substate is not None:
            members["state"] = Raw(msgspec.json.encode(spelling(self._substate)))
        return msgspec.json.encode(members)

    def _compact_with_surrogates(self, spelling: Callable[[SubState], str]) -> bytes:
        """`_compact`, with an unused character in place of the backslashes of lone surrogates."""
        used = set(self._text)
        spare = next(c for c in map(chr, range(0xE000, 0x110000)) if c not in used)
        hidden = ESCAPES.sub(
            lambda found: f"{spare}{found[1]}" if found[1] else found[0], self._text
        )
        compact = self._compact(hidden.encode(errors="replace"), spelling)
        return compact.replace(spare.encode(), b"\\")


def _parsed(text: str, container: Container) -> dict[str, Any]:
    if len(text) > MAX_CHARACTERS:
        raise DobbyRefused(
            f"getContainerInfo of {container}: Dobby's answer is larger than "
            f"{MAX_CHARACTERS >> 20} MiB"
        )
    try:
        value = json_text.parse(text)
    except ValueError as error:
        raise DobbyRefused(
            f"getContainerInfo of {container}: Dobby's answer is not JSON ({error})"
        ) from None
    if not isinstance(value, dict):
        raise DobbyRefused(
            f"getContainerInfo of {container}: Dobby's answer is JSON, but not an object: "
            f"{quoted(text)}"
        )
    if _is_deeper(value, MAX_DEPTH):
        raise DobbyRefused(
            f"getContainerInfo of {container}: Dobby's answer is nested deeper than {MAX_DEPTH}"
        )
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, dict | list) and (
        levels == 0 or any(_is_deeper(item, levels - 1) for item in inner)
    )
