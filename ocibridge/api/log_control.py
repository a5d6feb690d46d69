"""org.freedesktop.LogControl1(5) on the bus: `systemctl service-log-level ocibridge debug` (design 12).

Whom the bus's policy lets call everything may also write; everybody may read.
"""

import asyncio
from collections.abc import Collection

from ocibridge.api.callers import Callers
from ocibridge.bus import Bus, PropertyRefused, Served
from ocibridge.errors import shown
from ocibridge.journal import LEVELS, TARGETS, Journal, unfiltered
from ocibridge.members import Interface, Property
from ocibridge.names import IDENTIFIER, LOG_CONTROL, LOG_CONTROL_PATH


class LogControl:
    """The object, whose path and interface are the same in every service."""

    def __init__(self, bus: Bus, journal: Journal, callers: Callers) -> None:
        self._bus = bus
        self._journal = journal
        self._callers = callers
        self._served: Served | None = None
        self._recording: set[asyncio.Task[None]] = set()

    def serve(self) -> None:
        """Put the object on the bus."""
        properties = (
            Property("LogLevel", "s", lambda: self._journal.level, write=self._set_level, silent=True),
            Property("LogTarget", "s", lambda: self._journal.target, write=self._set_target, silent=True),
            Property("SyslogIdentifier", "s", lambda: IDENTIFIER, constant=True),
        )
        self._served = self._bus.serve(LOG_CONTROL_PATH, Interface(LOG_CONTROL, properties=properties))

    def _set_level(self, level: str, sender: str) -> None:
        if level in LEVELS:
            self._journal.level = level
        self._told("log level", level, LEVELS, sender)

    def _set_target(self, target: str, sender: str) -> None:
        if target in TARGETS:
            self._journal.target = target
        self._told("log target", target, TARGETS, sender)

    def _told(self, what: str, word: str, words: Collection[str], sender: str) -> None:
        """Log who has set what, whatever the level is now.

        A refusal's text goes there alone: sdbus sends but the name of an error of a property.
        """
        recording = asyncio.get_running_loop().create_task(self._record(what, word, words, sender))
        self._recording.add(recording)
        recording.add_done_callback(self._recording.discard)
        if word not in words:
            raise PropertyRefused

    async def _record(self, what: str, word: str, words: Collection[str], sender: str) -> None:
        caller = self._callers.meet(sender)
        await self._callers.known(sender)
        log = unfiltered()
        if word in words:
            log.info(f"{what} set to {word} by {caller}", **caller.fields)
        else:
            log.warning(f"{what} {shown(word)} by {caller}: refused: expected one of {', '.join(words)}", **caller.fields)
