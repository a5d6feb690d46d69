# SPDX-License-Identifier: Apache-2.0
"""Dobby's methods, signals and error replies as they are on the wire (docs/dobby.md, Methods).

Only the methods listed here are ever called, and only with these signatures. A struct argument
hangs Dobby (docs/dobby.md, Wrong arguments), and an unknown member costs it a reply slot for good
(docs/dobby.md, Reply slots). `bridge/dobby_api.py` says what each reply means to a caller.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, Generic, TypeVar

from ocibridge.bus.connection import ErrorReply
from ocibridge.model import SubState
from ocibridge.names import STANDARD_ERROR_PREFIX

T = TypeVar("T")

# An interface is the service name, a dot, and one of these words.
ADMIN: Final = "admin1"
CTRL: Final = "ctrl1"

# Signals as (interface word, member), and what they carry: D-Bus signature and Python types.
READY: Final = (ADMIN, "Ready")
STARTED: Final = (CTRL, "Started")
STOPPED: Final = (CTRL, "Stopped")
STOPPED_WITH_STATUS: Final = (CTRL, "StoppedWithStatus")
HIBERNATED: Final = (CTRL, "Hibernated")
AWOKEN: Final = (CTRL, "Awoken")
CONTAINER_SIGNAL: Final = "is"
STATUS_SIGNAL: Final = "isi"
SIGNAL_TYPES: Final = {(int, str): CONTAINER_SIGNAL, (int, str, int): STATUS_SIGNAL}

# 0 and unknown numbers are INVALID. 5 to 7 are not the numbers of Thunder's plugin
# (docs/dobby.md, States and their numbers).
SUBSTATES: Final = {
    1: SubState.STARTING,
    2: SubState.RUNNING,
    3: SubState.STOPPING,
    4: SubState.PAUSED,
    5: SubState.HIBERNATING,
    6: SubState.HIBERNATED,
    7: SubState.AWAKENING,
}


class MalformedReply(Exception):
    """The types of a reply are not those of the method. The text says which they are."""


@dataclass(frozen=True)
class Method(Generic[T]):
    """One method of Dobby.

    `word`: that of its interface. `signature`: of its arguments, in the long form that DobbyProxy,
    Dobby's own client library, sends. `reply`: the signature of its replies, None for any.
    `decode`: turns a reply's body into the result; raises MalformedReply.
    """

    word: str
    member: str
    signature: str
    reply: str | None
    decode: Callable[[tuple[Any, ...]], T]

    def check(self, signature: str | None) -> None:
        """Raise MalformedReply for a reply of another signature; None is an unknown signature.

        `decode` checks the Python types in any case.
        """
        if signature != self.reply and signature is not None and self.reply is not None:
            raise MalformedReply(f'a reply of signature "{signature}" instead of "{self.reply}"')


def _one(kind: type[T]) -> Callable[[tuple[Any, ...]], T]:
    """Decode a reply of exactly one value of that type. A bool does not pass for an int."""

    def decode(body: tuple[Any, ...]) -> T:
        if len(body) != 1 or type(body[0]) is not kind:
            types = ", ".join(type(v).__name__ for v in body)
            raise MalformedReply(f"a reply of ({types}) instead of one {kind.__name__}")
        value: T = body[0]
        return value

    return decode


_number = _one(int)


def _state(body: tuple[Any, ...]) -> SubState:
    return SUBSTATES.get(_number(body), SubState.INVALID)


def _pairs(body: tuple[Any, ...]) -> tuple[tuple[int, str], ...]:
    """Decode List's two parallel arrays to (descriptor, id) pairs."""
    if [type(v) for v in body] != [list, list] or len(body[0]) != len(body[1]):
        raise MalformedReply("a reply to List that is not two arrays of the same length")
    pairs = tuple(zip(body[0], body[1], strict=True))
    if not all(type(d) is int and type(i) is str for d, i in pairs):
        raise MalformedReply("a reply to List that is not descriptors and ids")
    return pairs


def _nothing(body: tuple[Any, ...]) -> None:
    del body  # any reply to Ping will do


PING: Final = Method(ADMIN, "Ping", "", None, _nothing)
LIST: Final = Method(CTRL, "List", "", "aias", _pairs)
GET_STATE: Final = Method(CTRL, "GetState", "i", "i", _state)
GET_INFO: Final = Method(CTRL, "GetInfo", "i", "s", _one(str))
START_FROM_BUNDLE: Final = Method(CTRL, "StartFromBundle", "ssahssasuu", "i", _one(int))
START_FROM_SPEC: Final = Method(CTRL, "StartFromSpec", "ssahssas", "i", _one(int))
STOP: Final = Method(CTRL, "Stop", "ib", "b", _one(bool))
PAUSE: Final = Method(CTRL, "Pause", "i", "b", _one(bool))
RESUME: Final = Method(CTRL, "Resume", "i", "b", _one(bool))
# (descriptor, options, command): in this order, though a comment in Dobby's source says otherwise.
EXEC: Final = Method(CTRL, "Exec", "iss", "b", _one(bool))
HIBERNATE: Final = Method(CTRL, "Hibernate", "is", "b", _one(bool))
WAKEUP: Final = Method(CTRL, "Wakeup", "i", "b", _one(bool))
ANNOTATE: Final = Method(CTRL, "Annotate", "iss", "b", _one(bool))
REMOVE_ANNOTATION: Final = Method(CTRL, "RemoveAnnotation", "is", "b", _one(bool))
MOUNT: Final = Method(CTRL, "Mount", "issass", "b", _one(bool))
UNMOUNT: Final = Method(CTRL, "Unmount", "is", "b", _one(bool))


class ReplyFailure(Enum):
    """What an error reply, by Dobby or by the bus on its behalf, says about Dobby."""

    GONE = auto()  # its name has no owner, or it disconnected without a reply
    STARTING = auto()  # its name has an owner, its object does not exist yet
    DEAF = auto()  # it has no reply slot left
    LACKING = auto()  # it does not have the method; the call has cost it a reply slot
    OTHER = auto()  # any other error


def failure_of(error: ErrorReply, *, has_answered: bool) -> ReplyFailure:
    """Classify an error reply by its name and text (docs/dobby.md, Error replies; Builds).

    `has_answered`: this Dobby process has answered a call before. One on libdbus that has not is
    starting when it replies that a method does not exist.
    """
    kind = error.name.removeprefix(f"{STANDARD_ERROR_PREFIX}.")
    if kind in {"ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected"}:
        return ReplyFailure.GONE
    if kind == "UnknownObject":
        return ReplyFailure.STARTING
    if kind != "UnknownMethod":
        return ReplyFailure.OTHER
    if error.text.startswith("Unknown method "):
        return ReplyFailure.DEAF
    return ReplyFailure.LACKING if has_answered else ReplyFailure.STARTING
