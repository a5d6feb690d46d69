# SPDX-License-Identifier: Apache-2.0
"""Reads JSON from Dobby and from callers; errors are ValueErrors in plain words."""

import json
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)

MAX_INTEGER_CHARACTERS: Final = 20  # of any 64-bit integer


class NotAnObject(ValueError):
    """The text is JSON, but not an object."""


def parse(text: str) -> Any:
    """The value; integers beyond 64 bits become floats. Raises ValueError, saying what and where.

    By the standard library: msgspec refuses lone surrogates and numbers out of range, which are
    legal JSON.
    """
    try:
        return json.loads(text, parse_int=_integer, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def members(text: str, kind: type[T]) -> T:
    """The members of a JSON object that `kind` declares. Raises ValueError, NotAnObject.

    Other members are parsed but not built: 8 MiB of JSON can take 200 MiB as Python objects, and
    half a second.
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
    """The value of a raw member from `members`. Raises ValueError, saying what and where."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_INTEGER_CHARACTERS else float(digits)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
