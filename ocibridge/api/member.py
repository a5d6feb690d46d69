"""What a method of ours is to the boundary, and what becomes of one call of it in the journal."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from ocibridge.errors import BridgeError, shown
from ocibridge.model import Caller

log = structlog.get_logger()


@dataclass(frozen=True)
class Member:
    """A method of ours: what it is called, what it takes and gives, who does it.

    `run` gets the in arguments and returns the out arguments as a tuple. `changes`: it is logged, with who asked.
    `by_whom`: `run` gets the Caller as well, after the arguments. `waits`: it may take for ever, and ends with its
    caller. `subject`: the id of the container that it is about, where the first argument does not name one.
    """

    name: str
    signature: str
    arguments: tuple[str, ...]
    result_signature: str
    results: tuple[str, ...]
    run: Callable[..., Awaitable[tuple[Any, ...]]]
    changes: bool = False
    by_whom: bool = False
    waits: bool = False
    subject: str = ""


@dataclass
class Call:
    """One call. `caller` is known where the member changes something or asks by whom."""

    member: Member
    sender: str
    caller: Caller | None
    arguments: tuple[Any, ...] = ()
    result: tuple[Any, ...] = ()
    refusal: BridgeError | None = None
    began: float = field(default_factory=time.monotonic)

    def record(self) -> None:
        """One entry a changing call, refused or not, with who asked; of others the refusals alone, for debugging."""
        if self.member.changes and self.caller is not None:
            self._record_change(self.caller)
        elif self.refusal is not None:
            told = f"{self.member.name} refused: {self.refusal.text}"
            log.debug(told, METHOD=self.member.name, SENDER=self.sender, ERROR_NAME=self.refusal.dbus_name)

    def _record_change(self, caller: Caller) -> None:
        seconds = time.monotonic() - self.began
        fields: dict[str, Any] = {
            "METHOD": self.member.name,
            "SENDER": caller.sender,
            "CALLER_UID": caller.uid,
            "CALLER_PID": caller.pid,
            "CALLER_COMM": caller.comm,
            "DURATION_USEC": round(seconds * 1e6),
        }
        subject = self._subject()
        if subject:
            fields["CONTAINER_ID"] = subject[:256]
        what = f"{self.member.name} {shown(subject)} by {caller}, {seconds * 1e3:.1f} ms"
        if self.refusal is None:
            fields |= {name.upper(): value for name, value in zip(self.member.results, self.result, strict=True)}
            log.info(what, **fields)
        else:
            log.warning(f"{what}: refused: {self.refusal.text}", ERROR_NAME=self.refusal.dbus_name, **fields)

    def _subject(self) -> str:
        if self.arguments and self.member.arguments[0] == "containerId":
            return str(self.arguments[0])
        return self.member.subject
