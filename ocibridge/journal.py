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
from systemd import journal

from ocibridge.config import LogLevel
from ocibridge.errors import shown
from ocibridge.events import ContainerEnded, ContainerRestarted, ContainerStarted, Event, StateChanged, StatusChanged
from ocibridge.exits import Exit, Reason
from ocibridge.model import DobbyStatus

PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "exception": 3}
STATUS_TEXTS: Final = {
    DobbyStatus.ABSENT: "Dobby is not on the bus; nothing is known of containers",
    DobbyStatus.STARTING: "Dobby is on the bus and starting",
    DobbyStatus.READY: "Dobby is ready",
    DobbyStatus.DEAF: "Dobby has no reply slot left and answers nobody; restart it (systemctl restart dobby)",
    DobbyStatus.STALLED: "Dobby has stopped answering; restart it if that lasts (systemctl restart dobby)",
}
GONE_TEXTS: Final = {
    Reason.LOST: "is gone, and Dobby never said so",
    Reason.DOBBY_GONE: "is no longer known, since Dobby is gone; whether it still runs cannot be said",
}


def set_up(level: LogLevel) -> None:
    """Log from now on at `level` and above."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _to_journal if _is_journal() else _to_terminal,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=_Stderr,
        cache_logger_on_first_use=False,
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


def record(event: Event) -> None:
    """The entry of one event of the mirror."""
    log = structlog.get_logger()
    match event:
        case StatusChanged():
            healthy = event.status in {DobbyStatus.READY, DobbyStatus.STARTING}
            (log.info if healthy else log.warning)(STATUS_TEXTS[event.status], DOBBY_STATUS=event.status.value)
        case ContainerStarted():
            log.info(f"container {shown(event.id)} is there ({event.substate}), descriptor {event.descriptor}", **_fields(event))
        case StateChanged():
            tell = log.debug if event.former.state is event.substate.state else log.info
            tell(f"container {shown(event.id)} is {event.substate}, was {event.former}", **_fields(event))
        case ContainerRestarted():
            log.warning(f"container {shown(event.id)} has crashed and been restarted by Dobby", **_fields(event))
        case ContainerEnded():
            tell = log.info if event.exit.failure_code is None else log.warning
            tell(f"container {shown(event.id)} {_ended(event.exit)}", **_fields(event), **_exit_fields(event.exit))
        case _:
            pass  # a doubt or a plan is no news


def _ended(record: Exit) -> str:
    """How, in words."""
    if record.wait_status is None:
        how = GONE_TEXTS.get(record.reason, "has ended, it is not known how")
    elif record.signal is not None:
        how = f"was killed by signal {record.signal}{' (core dumped)' if record.core_dumped else ''}"
    elif record.exit_code is not None:
        how = f"has exited with {record.exit_code}"
    else:
        how = f"has ended with the status {record.wait_status}, which says nothing"
    return f"{how}, as {record.requested_by} had asked" if record.requested_by is not None else how


def _fields(event: ContainerStarted | StateChanged | ContainerEnded | ContainerRestarted) -> dict[str, Any]:
    return {"CONTAINER_ID": event.id[:256], "DESCRIPTOR": event.descriptor}


def _exit_fields(record: Exit) -> dict[str, Any]:
    """What an operator may filter by; who asked is CALLER_… as with a call."""
    fields: dict[str, Any] = {"EXIT_REASON": record.reason.value}
    if record.wait_status is not None:
        fields["WAIT_STATUS"] = record.wait_status
    by = record.requested_by
    return fields if by is None else fields | {"SENDER": by.sender, "CALLER_UID": by.uid, "CALLER_PID": by.pid, "CALLER_COMM": by.comm}


def _is_journal() -> bool:
    """Whether stderr is the journal's (systemd.exec(5), $JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def _to_journal(_: Any, __: str, entry: MutableMapping[str, Any]) -> str:
    message = _message(entry)
    fields = {key: str(value) for key, value in entry.items() if key.isupper()}
    with suppress(OSError):  # without a journal there is nobody to tell
        journal.send(message, PRIORITY=PRIORITIES[entry["level"]], SYSLOG_IDENTIFIER="ocibridge", **fields)
    raise structlog.DropEvent


def _to_terminal(_: Any, __: str, entry: MutableMapping[str, Any]) -> str:
    return f"ocibridge: {entry['level']}: {_message(entry)}"


def _message(entry: MutableMapping[str, Any]) -> str:
    trace = f"\n{entry['exception']}" if "exception" in entry else ""
    reason = f": {entry['reason']}" if "reason" in entry else ""
    return f"{entry['event']}{reason}{trace}"
