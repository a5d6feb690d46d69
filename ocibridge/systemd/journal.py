"""Logging (design 12): structlog, natively into the journal under systemd, as human lines anywhere else.

Fields are upper case, as systemd.journal-fields(7) has it; a terminal shows the message alone.
"""

import logging
import os
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Final

import structlog

from ocibridge.names import IDENTIFIER
from ocibridge.systemd.journal_socket import JournalSocket

PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "exception": 3}
# The words of syslog(3), as LogControl1 has them, and the least of our own levels that each lets through.
LEVELS: Final = {
    "emerg": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "crit": logging.CRITICAL,
    "err": logging.ERROR,
    "warning": logging.WARNING,
    "notice": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
# The configuration's word for a level, where it is another than LogControl1's.
CONFIGURED: Final = {"error": "err"}
# Where entries can go, by LogControl1's words.
JOURNAL: Final = "journal"
CONSOLE: Final = "console"
TARGETS: Final = (JOURNAL, CONSOLE)


class Journal:
    """What is logged, and where to. One a process: structlog's configuration, which it sets, is the process's."""

    def __init__(self, level: str = "info") -> None:
        self._target = JOURNAL if _is_journal() else CONSOLE
        self._socket = JournalSocket()
        self.level = level

    @property
    def level(self) -> str:
        """The least level that is logged, one of LEVELS. Set it to one of these or of LogLevel; another word is a KeyError."""
        return self._level

    @level.setter
    def level(self, level: str) -> None:
        word = CONFIGURED.get(level, str(level))
        least = LEVELS[word]
        self._level = word
        self._configure(least)

    @property
    def target(self) -> str:
        """One of TARGETS. To set it raises KeyError for another word."""
        return self._target

    @target.setter
    def target(self, target: str) -> None:
        if target not in TARGETS:
            raise KeyError(target)
        self._target = target
        self._configure(LEVELS[self._level])

    def _configure(self, least: int) -> None:
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.format_exc_info,
                self._to_journal if self._target == JOURNAL else _to_console,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(least),
            logger_factory=_Stderr,
            cache_logger_on_first_use=False,
        )

    def end(self, seconds: float) -> None:
        """Have sent what is on its way to journald, if that takes no longer than `seconds`."""
        self._socket.end(seconds)

    def _to_journal(self, _: Any, __: str, entry: MutableMapping[str, Any]) -> str:
        fields = {key: value for key, value in entry.items() if key.isupper()}
        fields |= {
            "MESSAGE": _message(entry),
            "PRIORITY": PRIORITIES[entry["level"]],
            "SYSLOG_IDENTIFIER": IDENTIFIER,
        }
        self._socket.send(fields.items())
        raise structlog.DropEvent


def unfiltered() -> Any:
    """A logger that no level keeps silent: for what must not be hidden by whoever sets the level."""
    return structlog.wrap_logger(
        _Stderr(), wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET)
    )


class _Stderr:
    """Where a rendered entry goes on a terminal. A closed one must not take the daemon with it."""

    def __init__(self, *_: Any) -> None:
        pass

    def msg(self, entry: str) -> None:
        """Print, if anybody can read it."""
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{entry}\n")
            sys.stderr.flush()

    debug = info = warning = error = exception = msg


def _is_journal() -> bool:
    """Whether stderr is the journal's (systemd.exec(5), $JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def _to_console(_: Any, __: str, entry: MutableMapping[str, Any]) -> str:
    return f"{IDENTIFIER}: {entry['level']}: {_message(entry)}"


def _message(entry: MutableMapping[str, Any]) -> str:
    trace = f"\n{entry['exception']}" if "exception" in entry else ""
    reason = f": {entry['reason']}" if "reason" in entry else ""
    return f"{entry['event']}{reason}{trace}"
