# SPDX-License-Identifier: Apache-2.0
"""Descriptions of the interfaces that we serve, for `Bus.serve`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ocibridge.errors import BridgeError

# (value, sender, whether the sender may write): why the value is refused, None if it is not.
Check = Callable[[str, str, bool], BridgeError | None]


@dataclass(frozen=True, slots=True)
class Method:
    """A method: its name, D-Bus signatures and argument names, and what answers its calls.

    `answer` gets the message of the call. `reads_only`: calls that want no reply are dropped.
    """

    name: str
    signature: str
    arguments: tuple[str, ...]
    result_signature: str
    results: tuple[str, ...]
    answer: Callable[[Any], None]
    reads_only: bool = False


@dataclass(frozen=True, slots=True)
class Property:
    """A property. We emit PropertiesChanged for it unless it is `constant` or `silent`.

    `write` gets the new value and the sender; without it the property is read-only. Only root and
    our own user may write, except on a user's session bus. `check` gets both first, and whether the
    sender may write; it returns why the value is refused, or None. It may be called twice for a
    value.
    """

    name: str
    signature: str
    read: Callable[[], Any]
    constant: bool = False
    silent: bool = False
    write: Callable[[Any, str], None] | None = None
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal: its name, D-Bus signature and argument names."""

    name: str
    signature: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interface:
    """The members of one interface of one object."""

    name: str
    methods: tuple[Method, ...] = ()
    properties: tuple[Property, ...] = ()
    signals: tuple[Signal, ...] = ()
