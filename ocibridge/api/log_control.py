# SPDX-License-Identifier: Apache-2.0
"""org.freedesktop.LogControl1(5): `systemctl service-log-level ocibridge debug`.

Every local user may read. Only root and the daemon's own user may write: the setter is synchronous,
so it cannot wait for the look-up that the rules of the key `access` need.
"""

from collections.abc import Collection
from functools import partial
from typing import Final

from ocibridge.api.callers import Callers
from ocibridge.api.refusals import Refusals
from ocibridge.bus.connection import Bus, Served
from ocibridge.bus.interface import Interface, Property
from ocibridge.errors import AccessDenied, BridgeError, InvalidArgs
from ocibridge.model import Caller
from ocibridge.names import IDENTIFIER, LOG_CONTROL, LOG_CONTROL_PATH
from ocibridge.systemd.journal import LEVELS, TARGETS, Journal, unfiltered
from ocibridge.tasks import spawn
from ocibridge.text import quoted

WRITERS: Final = "only root and the daemon's own user"


class LogControl:
    """The object. Its path and interface are the same in every service."""

    def __init__(self, bus: Bus, journal: Journal, callers: Callers, refusals: Refusals) -> None:
        self._bus = bus
        self._journal = journal
        self._callers = callers
        self._refusals = refusals
        self._served: Served | None = None

    def serve(self) -> None:
        """Put the object on the bus."""
        properties = (
            Property(
                "LogLevel",
                "s",
                lambda: self._journal.level,
                write=self._set_level,
                silent=True,
                check=partial(self._check, "level", LEVELS),
            ),
            Property(
                "LogTarget",
                "s",
                lambda: self._journal.target,
                write=self._set_target,
                silent=True,
                check=partial(self._check, "target", TARGETS),
            ),
            Property("SyslogIdentifier", "s", lambda: IDENTIFIER, constant=True),
        )
        self._served = self._bus.serve(
            LOG_CONTROL_PATH, Interface(LOG_CONTROL, properties=properties)
        )

    def _set_level(self, level: str, sender: str) -> None:
        self._journal.level = level
        self._tell(f"log level set to {level}", sender)

    def _set_target(self, target: str, sender: str) -> None:
        self._journal.target = target
        self._tell(f"log target set to {target}", sender)

    def _check(
        self, what: str, words: Collection[str], word: str, sender: str, may_write: bool
    ) -> BridgeError | None:
        if not may_write:
            denied = AccessDenied(f"log {what}: not changed: {WRITERS} may change it")
            spawn(self._record_denied(what, sender, denied), "record a denied write")
            return denied
        if word in words:
            return None
        reason = f"expected one of {', '.join(words)}"
        self._tell(f"log {what} {quoted(word)}", sender, reason)
        return InvalidArgs(f"log {what} {quoted(word)}: {reason}")

    def _tell(self, what: str, sender: str, reason: str = "") -> None:
        """Log who set what, or `reason` why it was refused, regardless of the level."""
        spawn(self._record(what, sender, reason), "record a write to LogControl1")

    async def _record(self, what: str, sender: str, reason: str) -> None:
        caller = await self._caller(sender)
        log = unfiltered()
        if reason:
            log.warning(f"{what} by {caller}: refused: {reason}", **caller.fields)
        else:
            log.info(f"{what} by {caller}", **caller.fields)

    async def _record_denied(self, what: str, sender: str, denied: AccessDenied) -> None:
        caller = await self._caller(sender)
        fields = caller.fields | {"ERROR_NAME": denied.dbus_name}
        text = f"log {what} not changed by {caller}: {WRITERS} may change it"
        self._refusals.add(caller.uid, what, lambda: (text, fields))

    async def _caller(self, sender: str) -> Caller:
        caller = self._callers.meet(sender)
        await self._callers.known(sender)
        return caller
