"""What we serve on the bus, as data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Method:
    """A method that we serve: its signatures, the names of its arguments, and who answers a call (a message) of it.

    `reads_only`: a call that wants no reply is dropped.
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
    """A property that we serve; unless `constant` or `silent`, we announce its changes.

    `write` gets the value and the sender; without it the property is read-only. `check` gets the same before, and says why
    a value is refused, None if it is not; it may be asked twice.
    """

    name: str
    signature: str
    read: Callable[[], Any]
    constant: bool = False
    silent: bool = False
    write: Callable[[Any, str], None] | None = None
    check: Callable[[Any, str], str | None] | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that we send."""

    name: str
    signature: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interface:
    """All members of one interface of one object."""

    name: str
    methods: tuple[Method, ...] = ()
    properties: tuple[Property, ...] = ()
    signals: tuple[Signal, ...] = ()
