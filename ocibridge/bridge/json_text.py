"""JSON as it comes from Dobby and from callers: read whole, or refused in plain words."""

import json
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)

MAX_INTEGER_DIGITS: Final = 20  # characters of any 64-bit integer


class NotAnObject(ValueError):
    """JSON, of another type."""


def parse(text: str) -> Any:
    """The value. Integers too long for 64 bits become floats. Raises ValueError, saying what is wrong and where.

    The standard library's reader, since msgspec's refuses what is legal JSON: lone surrogates, and numbers out of range.
    """
    try:
        return json.loads(text, parse_int=_integer, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def members(text: str, kind: type[T]) -> T:
    """Of a JSON object the members that `kind` declares; raises ValueError as `parse` does, NotAnObject.

    The rest is looked at but never built: an object of 8 MiB may be 200 MiB of Python's, and half a second.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError:
        raise NotAnObject("is JSON, but not an object") from None
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def value(text: bytes) -> Any:
    """The value of a member that `members` has left unbuilt. Raises ValueError, saying what is wrong and where."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_INTEGER_DIGITS else float(digits)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
