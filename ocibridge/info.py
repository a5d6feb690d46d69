"""Dobby's GetInfo text, as values and as the JSON that it is (design 3, 9; facts 4)."""

import json
import re
from itertools import pairwise
from typing import Any, Final

from ocibridge import json_text
from ocibridge.errors import DobbyRefused, shown
from ocibridge.model import Container, State, SubState

DEEPEST: Final = 16
# Characters. As D-Bus values it may be six times as large, and a bus throws out who sends 32 MiB.
LARGEST: Final = 4 << 20

# GetInfo spells states its own way (facts 4).
STATES: Final = {s.value.lower(): s.state for s in SubState} | {"unknown": State.INVALID}

STRING: Final = r'"(?:[^"\\]|\\.)*"'
BLANKS: Final = re.compile(rf"({STRING})|\s+")
TOKENS: Final = re.compile(rf"{STRING}|[\[\]{{}}]")


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
    def json(self) -> str:
        """Dobby's own text without the blanks between its tokens: members, numbers and strings as they came."""
        compact = BLANKS.sub(r"\1", self._text)
        tokens = list(TOKENS.finditer(compact))
        depth, copied, pieces = 0, 0, []
        for token, following in pairwise(tokens):
            depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
            is_state = depth == 1 and compact[token.end()] == ":" and json.loads(token[0]) == "state"
            if is_state and following.start() == token.end() + 1 and following[0][0] == '"':
                pieces += [compact[copied : following.start()], json.dumps(_respelt(json.loads(following[0])))]
                copied = following.end()
        return "".join([*pieces, compact[copied:]])


def _respelt(state: str) -> str:
    return STATES.get(state, State.INVALID).value


def _parsed(text: str, container: Container) -> dict[str, Any]:
    if len(text) > LARGEST:
        raise DobbyRefused(f"getContainerInfo of {container}: what Dobby sent is larger than {LARGEST >> 20} MiB")
    try:
        value = json_text.parse(text)
    except ValueError as error:
        raise DobbyRefused(f"getContainerInfo of {container}: what Dobby sent is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise DobbyRefused(f"getContainerInfo of {container}: what Dobby sent is JSON, but not an object: {shown(text)}")
    if _is_deeper(value, DEEPEST):
        raise DobbyRefused(f"getContainerInfo of {container}: what Dobby sent is nested deeper than {DEEPEST}")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, dict | list) and (levels == 0 or any(_is_deeper(item, levels - 1) for item in inner))
