# SPDX-License-Identifier: Apache-2.0
"""One call of a method of ours, and its entry in the journal."""

import time
from functools import partial
from typing import Any

import msgspec
import structlog

from ocibridge.api.methods import CONTAINER_ID, MethodSpec
from ocibridge.api.refusals import Refusals
from ocibridge.errors import AccessDenied, BridgeError
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import Caller, Container
from ocibridge.text import quoted

log = structlog.get_logger()

MAX_FIELD_CHARACTERS = 256


class Call(msgspec.Struct, eq=False):
    """One call.

    `sender`: the caller's unique name. `container`: the one on whose object the method was called.
    `caller` is complete before a method that is not open to all is performed.
    `refusal`: the error that the caller gets instead of `result`. `fields`: of the journal entry.
    """

    spec: MethodSpec
    sender: str
    container: Container | None = None
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
        return self.spec.to_dbus(self.result)

    def take_arguments(self, arguments: tuple[Any, ...], mirror: Mirror) -> None:
        """Keep the in arguments, and which container a call that is not open to all is about."""
        self.arguments = arguments
        if self.spec.judged_as:
            self._find_subject(mirror)

    def _find_subject(self, mirror: Mirror) -> None:
        container = self.container
        if container is None and self.arguments and CONTAINER_ID in self.spec.arguments:
            text = str(self.arguments[0])
            self.subject = text[:MAX_FIELD_CHARACTERS]
            container = None if self.spec.creates else mirror.find(text)
        if container is not None:
            self.subject = container.id
            self.fields["DESCRIPTOR"] = container.descriptor
        if self.subject:
            self.fields["CONTAINER_ID"] = self.subject
        if mirror.owner:
            self.fields["DOBBY_OWNER"] = mirror.owner

    def record(self, mirror: Mirror) -> None:
        """Log a mutating call with who asked; of other calls only refusals, at debug level."""
        if self.spec.mutating and self.caller is not None:
            self._record_change(self.caller)
        elif self.refusal is not None:
            if not self.subject:
                self._find_subject(mirror)
            log.debug(
                f"{self.spec.name} refused: {self.refusal.text}",
                METHOD=self.spec.name,
                SENDER=self.sender,
                ERROR_NAME=self.refusal.dbus_name,
                **self.fields,
            )

    def _record_change(self, caller: Caller) -> None:
        seconds = time.monotonic() - self.began
        fields = self.fields | caller.fields
        fields |= {"METHOD": self.spec.name, "DURATION_USEC": round(seconds * 1e6)}
        what = f"{self.spec.name} {quoted(self.subject)} by {caller}, {seconds * 1e3:.1f} ms"
        if self.refusal is None:
            results = zip(self.spec.results, self.results, strict=True)
            log.info(what, **fields | {name.upper(): value for name, value in results})
        else:
            refused = f"{what}: refused: {self.refusal.text}"
            log.warning(refused, ERROR_NAME=self.refusal.dbus_name, **fields)

    def tally(self, refusals: Refusals) -> None:
        """Have a call without right logged with others of its kind."""
        if self.caller is not None and self.refusal is not None:
            self.arguments = ()  # they may be large, and the last call is kept
            refusals.add(
                self.caller.uid,
                self.spec.name,
                partial(self._refused_entry, self.caller, self.refusal),
            )

    def _refused_entry(self, caller: Caller, refusal: BridgeError) -> tuple[str, dict[str, Any]]:
        fields = self.fields | caller.fields
        fields |= {"METHOD": self.spec.name, "ERROR_NAME": refusal.dbus_name}
        if isinstance(refusal, AccessDenied) and refusal.rule:
            fields["ACCESS_RULE"] = refusal.rule
        text = f"{self.spec.name} {quoted(self.subject)} by {caller}: refused: {refusal.text}"
        return text, fields
