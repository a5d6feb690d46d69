"""org.freedesktop.LogControl1(5) on the bus: `systemctl service-log-level ocibridge debug` (design 12).

Whom the bus's policy lets call everything may also write; everybody may read.
"""

from collections.abc import Callable, Iterable

import structlog

from ocibridge.bus import Bus, PropertyRefused, Served
from ocibridge.errors import shown
from ocibridge.journal import IDENTIFIER, LEVELS, TARGETS, Journal
from ocibridge.members import Interface, Property
from ocibridge.names import LOG_CONTROL, LOG_CONTROL_PATH

log = structlog.get_logger()


class LogControl:
    """The object, whose path and interface are the same in every service."""

    def __init__(self, bus: Bus, journal: Journal) -> None:
        self._bus = bus
        self._journal = journal
        self._served: Served | None = None

    def serve(self) -> None:
        """Put the object on the bus."""
        properties = (
            Property("LogLevel", "s", lambda: self._journal.level, write=self._set_level, silent=True),
            Property("LogTarget", "s", lambda: self._journal.target, write=self._set_target, silent=True),
            Property("SyslogIdentifier", "s", lambda: IDENTIFIER, constant=True),
        )
        self._served = self._bus.serve(LOG_CONTROL_PATH, Interface(LOG_CONTROL, properties=properties))

    def _set_level(self, level: str) -> None:
        def apply() -> None:
            self._journal.level = level

        self._set("log level", level, LEVELS, apply)

    def _set_target(self, target: str) -> None:
        def apply() -> None:
            self._journal.target = target

        self._set("log target", target, TARGETS, apply)

    def _set(self, what: str, word: str, words: Iterable[str], apply: Callable[[], None]) -> None:
        """The refusal's text goes to the log alone: sdbus sends but the name of an error of a property."""
        if word not in words:
            log.warning(f"{what} {shown(word)} refused: expected one of {', '.join(words)}")
            raise PropertyRefused
        apply()
        log.info(f"{what} set to {word}")
