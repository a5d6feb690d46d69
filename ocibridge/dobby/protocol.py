"""Dobby's wire truth: its members, their long-form signatures, what its answers mean (facts 1-4, 8b).

Only what is listed here is ever sent. A struct argument hangs Dobby, an unknown member costs it a reply slot for good,
so both the members and the argument types are fixed in this table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, Generic, TypeVar

from ocibridge.bus.connection import ErrorReply
from ocibridge.model import SubState
from ocibridge.names import STANDARD_ERROR_PREFIX

T = TypeVar("T")

# The interfaces are the service name and one of these words.
ADMIN: Final = "admin1"
CTRL: Final = "ctrl1"

# Signals: (interface word, member), and what they carry: D-Bus signature and Python types.
READY: Final = (ADMIN, "Ready")
STARTED: Final = (CTRL, "Started")
STOPPED: Final = (CTRL, "Stopped")
STOPPED_WITH_STATUS: Final = (CTRL, "StoppedWithStatus")
HIBERNATED: Final = (CTRL, "Hibernated")
AWOKEN: Final = (CTRL, "Awoken")
CONTAINER_SIGNAL: Final = "is"
STATUS_SIGNAL: Final = "isi"
SIGNAL_TYPES: Final = {(int, str): CONTAINER_SIGNAL, (int, str, int): STATUS_SIGNAL}

# Dobby's numbers are not Thunder's: 5 to 7 differ (facts 9). 0 is "unknown descriptor" as well as "invalid".
SUBSTATES: Final = {
    1: SubState.STARTING,
    2: SubState.RUNNING,
    3: SubState.STOPPING,
    4: SubState.PAUSED,
    5: SubState.HIBERNATING,
    6: SubState.HIBERNATED,
    7: SubState.AWAKENING,
}


class NotAnAnswer(Exception):
    """A reply whose types are not those of the method; the text says what came."""


@dataclass(frozen=True)
class Method(Generic[T]):
    """One method of Dobby's: `word` its interface's, `signature` the long form that the real client library sends.

    `reply` is the signature of its answers, None where any will do.
    """

    word: str
    member: str
    signature: str
    reply: str | None
    decode: Callable[[tuple[Any, ...]], T]

    def check(self, signature: str | None) -> None:
        """Raise NotAnAnswer for a reply of another signature. None: not known, then `decode` looks at the Python types."""
        if signature != self.reply and signature is not None and self.reply is not None:
            raise NotAnAnswer(f'a reply of signature "{signature}" where "{self.reply}" is due')


def _one(kind: type[T]) -> Callable[[tuple[Any, ...]], T]:
    """A reply of exactly one value of that type. A bool is no int here: that is how GetInfo's `b true` shows."""

    def decode(body: tuple[Any, ...]) -> T:
        if len(body) != 1 or type(body[0]) is not kind:
            raise NotAnAnswer(
                f"a reply of ({', '.join(type(v).__name__ for v in body)}) where one {kind.__name__} is due"
            )
        value: T = body[0]
        return value

    return decode


_number = _one(int)


def _state(body: tuple[Any, ...]) -> SubState:
    return SUBSTATES.get(_number(body), SubState.INVALID)


def _listing(body: tuple[Any, ...]) -> tuple[tuple[int, str], ...]:
    """List's two parallel arrays, as pairs."""
    if [type(v) for v in body] != [list, list] or len(body[0]) != len(body[1]):
        raise NotAnAnswer("a reply to List that is not two arrays of one length")
    pairs = tuple(zip(body[0], body[1], strict=True))
    if not all(type(d) is int and type(i) is str for d, i in pairs):
        raise NotAnAnswer("a reply to List that is not descriptors and ids")
    return pairs


def _nothing(body: tuple[Any, ...]) -> None:
    del body  # whatever Ping carries, it has answered


PING: Final = Method(ADMIN, "Ping", "", None, _nothing)
LIST: Final = Method(CTRL, "List", "", "aias", _listing)
GET_STATE: Final = Method(CTRL, "GetState", "i", "i", _state)
GET_INFO: Final = Method(CTRL, "GetInfo", "i", "s", _one(str))
START_FROM_BUNDLE: Final = Method(CTRL, "StartFromBundle", "ssahssasuu", "i", _one(int))
START_FROM_SPEC: Final = Method(CTRL, "StartFromSpec", "ssahssas", "i", _one(int))
STOP: Final = Method(CTRL, "Stop", "ib", "b", _one(bool))
PAUSE: Final = Method(CTRL, "Pause", "i", "b", _one(bool))
RESUME: Final = Method(CTRL, "Resume", "i", "b", _one(bool))
# (descriptor, options, command): options come before the command, whatever Dobby's own comment says (facts, Exec).
EXEC: Final = Method(CTRL, "Exec", "iss", "b", _one(bool))
# True: begun. A Dobby without memcr says so as well, and does nothing (facts, Hibernate).
HIBERNATE: Final = Method(CTRL, "Hibernate", "is", "b", _one(bool))
WAKEUP: Final = Method(CTRL, "Wakeup", "i", "b", _one(bool))
ANNOTATE: Final = Method(CTRL, "Annotate", "iss", "b", _one(bool))
REMOVE_ANNOTATION: Final = Method(CTRL, "RemoveAnnotation", "is", "b", _one(bool))
MOUNT: Final = Method(CTRL, "Mount", "issass", "b", _one(bool))
UNMOUNT: Final = Method(CTRL, "Unmount", "is", "b", _one(bool))


class ReplyFailure(Enum):
    """What an error reply of Dobby's, or of the bus in its place, tells about it."""

    GONE = auto()  # no owner, or it died with the call
    STARTING = auto()  # the name is there, the object is not
    DEAF = auto()  # its pool of 49 reply slots is empty
    LACKING = auto()  # it has no such method, and has just lost a slot over it
    OTHER = auto()


def failure_of(error: ErrorReply, proven: bool) -> ReplyFailure:
    """Tell the causes apart by their texts (facts 1, 8b). `proven`: this life has answered a call before."""
    kind = error.name.removeprefix(f"{STANDARD_ERROR_PREFIX}.")
    if kind in {"ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected"}:
        return ReplyFailure.GONE
    if kind == "UnknownObject":
        return ReplyFailure.STARTING
    if kind != "UnknownMethod":
        return ReplyFailure.OTHER
    if error.text.startswith("Unknown method "):
        return ReplyFailure.DEAF
    if not proven:
        return ReplyFailure.STARTING
    return ReplyFailure.LACKING
