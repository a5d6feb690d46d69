"""What a method of ours is to the boundary, and what becomes of one call of it in the journal."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from ocibridge.bridge.validation import MAX_STRING_BYTES
from ocibridge.errors import BridgeError
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import Caller, Container
from ocibridge.text import quoted

log = structlog.get_logger()

Run = Callable[..., Awaitable[Any]]


def nothing(_: Any) -> tuple[Any, ...]:
    """No out argument."""
    return ()


def itself(result: Any) -> tuple[Any, ...]:
    """The result is the one out argument."""
    return (result,)


@dataclass(frozen=True, slots=True)
class Member:
    """A method of ours: what it is called, what it takes and gives, who does it.

    `run` gets the in arguments; `told` makes of its result the out arguments. `changes`: it is logged, with who asked.
    `by_whom`: `run` gets the Caller as well, after the arguments. `waits`: it may take for ever, and ends with its
    caller. `creates`: its containerId is that of a container to come. `container`: the one that it is about, where no
    containerId names it. `largest`: how many bytes a string argument may have.
    """

    name: str
    signature: str
    arguments: tuple[str, ...]
    result_signature: str
    results: tuple[str, ...]
    run: Run
    to_dbus: Callable[[Any], tuple[Any, ...]] = nothing
    changes: bool = False
    needs_caller: bool = False
    waits: bool = False
    creates: bool = False
    container: Container | None = None
    largest: int = MAX_STRING_BYTES


class Call(msgspec.Struct, eq=False):
    """One call. `caller` is known before it is performed where the member changes something or asks by whom.

    `fields`: what of it the journal's entries can be found by.
    """

    member: Member
    sender: str
    caller: Caller | None = None
    is_counted: bool = False  # by the admission
    arguments: tuple[Any, ...] = ()
    result: Any = None
    refusal: BridgeError | None = None
    subject: str = ""
    fields: dict[str, Any] = {}
    began: float = msgspec.field(default_factory=time.monotonic)

    @property
    def results(self) -> tuple[Any, ...]:
        """The out arguments."""
        return self.member.to_dbus(self.result)

    def on_reply(self, arguments: tuple[Any, ...], mirror: Mirror) -> None:
        """Its arguments are these; a descriptor is the container that has it now."""
        self.arguments = arguments
        if self.member.changes:
            self._find_subject(mirror)

    def _find_subject(self, mirror: Mirror) -> None:
        container = self.member.container
        if container is None and self.arguments and self.member.arguments[0] == "containerId":
            self.subject = str(self.arguments[0])
            container = None if self.member.creates else mirror.find(self.subject)
        if container is not None:
            self.subject = container.id
            self.fields["DESCRIPTOR"] = container.descriptor
        if self.subject:
            self.fields["CONTAINER_ID"] = self.subject[:256]
        if mirror.owner:
            self.fields["DOBBY_OWNER"] = mirror.owner

    def record(self, mirror: Mirror) -> None:
        """One entry a changing call, refused or not, with who asked; of others the refusals alone, for debugging."""
        if self.member.changes and self.caller is not None:
            self._record_change(self.caller)
        elif self.refusal is not None:
            self._find_subject(mirror)
            to_dbus = f"{self.member.name} refused: {self.refusal.text}"
            log.debug(
                to_dbus,
                METHOD=self.member.name,
                SENDER=self.sender,
                ERROR_NAME=self.refusal.dbus_name,
                **self.fields,
            )

    def _record_change(self, caller: Caller) -> None:
        seconds = time.monotonic() - self.began
        fields = (
            self.fields
            | caller.fields
            | {"METHOD": self.member.name, "DURATION_USEC": round(seconds * 1e6)}
        )
        what = f"{self.member.name} {quoted(self.subject)} by {caller}, {seconds * 1e3:.1f} ms"
        if self.refusal is None:
            fields |= {
                name.upper(): value
                for name, value in zip(self.member.results, self.results, strict=True)
            }
            log.info(what, **fields)
        else:
            log.warning(
                f"{what}: refused: {self.refusal.text}", ERROR_NAME=self.refusal.dbus_name, **fields
            )
