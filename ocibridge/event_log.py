# SPDX-License-Identifier: Apache-2.0
"""The journal entry of each event of the mirror, and the status line.

(docs/design.md, systemd and the journal)
"""

from typing import Any, Final

import structlog

from ocibridge.dobby.status_texts import status_text
from ocibridge.mirror.events import (
    ContainerEnded,
    ContainerRestarted,
    ContainerStarted,
    Event,
    StateChanged,
    StatusChanged,
)
from ocibridge.model import DobbyStatus, Exit, Reason
from ocibridge.systemd.message_ids import MessageId
from ocibridge.text import quoted

STATUS_IDS: Final = {
    DobbyStatus.ABSENT: MessageId.DOBBY_LOST,
    DobbyStatus.READY: MessageId.DOBBY_READY,
    DobbyStatus.DEAF: MessageId.DOBBY_DEAF,
    DobbyStatus.STALLED: MessageId.DOBBY_STALLED,
}
# For an end without a status.
INFERRED_TEXTS: Final = {
    Reason.LOST: "is gone, without a signal from Dobby",
    Reason.DOBBY_GONE: "is no longer known, since Dobby has left the bus; it may still run",
}


def status_line(status: DobbyStatus, count: int, service: str) -> str:
    """A line for `systemctl status`. `count`: of containers. `service`: Dobby's bus name."""
    containers = f"{count} container{'' if count == 1 else 's'}"
    match status:
        case DobbyStatus.READY:
            return f"ready, {containers}"
        case DobbyStatus.ABSENT:
            return f"waiting for {service}"
        case DobbyStatus.STARTING:
            return status_text(status)
        case DobbyStatus.DEAF | DobbyStatus.STALLED:
            return f"{status_text(status)}; {containers} at last count"


def record(event: Event, owner: str | None) -> None:
    """Log an event. `owner`: Dobby's unique name, None if it has left the bus."""
    log = structlog.get_logger()
    dobby = {"DOBBY_OWNER": owner} if owner else {}
    match event:
        case StatusChanged():
            _record_status(event, dobby)
        case ContainerStarted():
            text = f"is there ({event.substate}), descriptor {event.descriptor}"
            log.info(f"container {quoted(event.id)} {text}", **_fields(event), **dobby)
        case StateChanged():
            write = log.debug if event.former.state is event.substate.state else log.info
            text = f"is {event.substate}, was {event.former}"
            write(f"container {quoted(event.id)} {text}", **_fields(event), **dobby)
        case ContainerRestarted():
            text = f"container {quoted(event.id)} has crashed and been restarted by Dobby"
            log.warning(text, MESSAGE_ID=MessageId.CONTAINER_RESTARTED, **_fields(event), **dobby)
        case ContainerEnded():
            _record_end(event, dobby)
        case _:
            pass  # internal


def _record_status(event: StatusChanged, dobby: dict[str, str]) -> None:
    log = structlog.get_logger()
    fields: dict[str, str] = {"DOBBY_STATUS": event.status.value} | dobby
    if event.status in STATUS_IDS:
        fields["MESSAGE_ID"] = STATUS_IDS[event.status]
    is_healthy = event.status in {DobbyStatus.READY, DobbyStatus.STARTING}
    (log.info if is_healthy else log.warning)(status_text(event.status), **fields)


def _record_end(event: ContainerEnded, dobby: dict[str, str]) -> None:
    log = structlog.get_logger()
    text = f"container {quoted(event.id)} {_ended(event.exit)}"
    fields = _fields(event) | _exit_fields(event.exit) | dobby
    if event.exit.failure_code is None:
        log.info(text, **fields)
    else:
        log.warning(text, MESSAGE_ID=MessageId.CONTAINER_FAILED, **fields)


def _ended(record: Exit) -> str:
    """How the container ended, as the rest of a sentence."""
    if record.wait_status is None:
        how = INFERRED_TEXTS.get(record.reason, "has ended with an unknown status")
    elif record.signal is not None:
        how = (
            f"was killed by signal {record.signal}{' (core dumped)' if record.core_dumped else ''}"
        )
        if record.reason is Reason.DOBBY_GONE:
            how += ", and Dobby has left the bus: most likely both were stopped together"
    elif record.exit_code is not None:
        how = f"has exited with {record.exit_code}"
    else:
        how = f"has ended with the invalid status {record.wait_status}"
    return how if record.requested_by is None else f"{how}, as {record.requested_by} requested"


def _fields(
    event: ContainerStarted | StateChanged | ContainerEnded | ContainerRestarted,
) -> dict[str, Any]:
    return {"CONTAINER_ID": event.id[:256], "DESCRIPTOR": event.descriptor}


def _exit_fields(record: Exit) -> dict[str, Any]:
    """The fields of an exit. Who requested it is in SENDER and CALLER_…, as for a call."""
    fields: dict[str, Any] = {"EXIT_REASON": record.reason.value}
    if record.wait_status is not None:
        fields["WAIT_STATUS"] = record.wait_status
    return fields if record.requested_by is None else fields | record.requested_by.fields
