# SPDX-License-Identifier: Apache-2.0
"""Logging by structlog: to the journal under systemd, as lines on stderr otherwise.

Event fields in upper case become fields of the journal entry (systemd.journal-fields(7)); lines on
stderr have the message only (docs/design.md, systemd and the journal).
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
# LogControl1's words for a level, which are syslog(3)'s, and the lowest Python level each admits.
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
# Levels whose word in the configuration differs from LogControl1's.
CONFIGURED: Final = {"error": "err"}
# LogControl1's words for where entries go.
JOURNAL: Final = "journal"
CONSOLE: Final = "console"
TARGETS: Final = (JOURNAL, CONSOLE)


class Journal:
    """The log's level and target. One for a process, since it sets structlog's configuration."""

    def __init__(self, level: str = "info") -> None:
        self._target = JOURNAL if _is_journal() else CONSOLE
        self._socket = JournalSocket()
        self.level = level

    @property
    def level(self) -> str:
        """The lowest level that is logged, one of LEVELS.

        Setting it also takes the words of LogLevel, and raises KeyError for any other.
        """
        return self._level

    @level.setter
    def level(self, level: str) -> None:
        word = CONFIGURED.get(level, str(level))
        least = LEVELS[word]
        self._level = word
        self._configure(least)

    @property
    def target(self) -> str:
        """Where entries go, one of TARGETS. Setting it raises KeyError for any other word."""
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
        """Flush pending entries to journald, waiting at most `seconds` for each, and close."""
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
    """A logger that ignores the level, for entries that a change of the level must not hide."""
    return structlog.wrap_logger(
        _Stderr(), wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET)
    )


class _Stderr:
    """Writes rendered entries to stderr. A closed stderr must not end the daemon."""

    def __init__(self, *_: Any) -> None:
        pass

    def msg(self, entry: str) -> None:
        """Write one line; ignore errors."""
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{entry}\n")
            sys.stderr.flush()

    debug = info = warning = error = exception = msg


def _is_journal() -> bool:
    """Whether stderr is connected to the journal (systemd.exec(5), $JOURNAL_STREAM)."""
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
