"""JSON as it comes from Dobby and from callers: read whole, or refused in plain words.

The standard library's reader, since msgspec's refuses what is legal JSON: lone surrogates, and numbers out of range.
"""

import json
from typing import Any, Final

LONGEST_INTEGER: Final = 20  # characters of any 64-bit integer


def parse(text: str | bytes) -> Any:
    """The value. Integers too long for 64 bits become floats. Raises ValueError, saying what is wrong and where."""
    try:
        return json.loads(text, parse_int=_integer, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= LONGEST_INTEGER else float(digits)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
