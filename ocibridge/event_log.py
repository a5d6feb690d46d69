"""The journal's entries of what happens to Dobby and to containers: one an event of the mirror (design 12)."""

from typing import Any, Final

import structlog

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

# A restart with a paused container took three minutes and failed; journalctl -x says how to resume one without Dobby.
RESTART: Final = "systemctl restart dobby; paused containers have to be resumed before"
STATUS_TEXTS: Final = {
    DobbyStatus.ABSENT: "Dobby is not on the bus any more; nothing is known of containers",
    DobbyStatus.STARTING: "Dobby is on the bus and starting",
    DobbyStatus.READY: "Dobby is ready",
    DobbyStatus.DEAF: f"Dobby has no reply slot left and answers nobody; restart it ({RESTART})",
    DobbyStatus.STALLED: f"Dobby has stopped answering; restart it if that lasts ({RESTART})",
}
STATUS_IDS: Final = {
    DobbyStatus.ABSENT: MessageId.DOBBY_LOST,
    DobbyStatus.READY: MessageId.DOBBY_READY,
    DobbyStatus.DEAF: MessageId.DOBBY_DEAF,
    DobbyStatus.STALLED: MessageId.DOBBY_STALLED,
}
GONE_TEXTS: Final = {
    Reason.LOST: "is gone, and Dobby never said so",
    Reason.DOBBY_GONE: "is no longer known, since Dobby is gone; whether it still runs cannot be said",
}


def status_line(status: DobbyStatus, count: int, service: str) -> str:
    """What is so, in a line for `systemctl status`. `count`: of containers, `service`: Dobby's name."""
    containers = f"{count} container{'' if count == 1 else 's'}"
    match status:
        case DobbyStatus.READY:
            return f"ready, {containers}"
        case DobbyStatus.ABSENT:
            return f"waiting for {service}"
        case DobbyStatus.STARTING:
            return "Dobby is starting"
        case DobbyStatus.DEAF:
            return f"Dobby is deaf and has to be restarted; {containers}"
        case DobbyStatus.STALLED:
            return f"Dobby has stopped answering; {containers} when last heard of"


def record(event: Event, owner: str | None) -> None:
    """Log an event. `owner`: the unique name of the Dobby that it is about, None where that is gone."""
    log = structlog.get_logger()
    dobby = {"DOBBY_OWNER": owner} if owner else {}
    match event:
        case StatusChanged():
            _record_status(event, dobby)
        case ContainerStarted():
            log.info(
                f"container {quoted(event.id)} is there ({event.substate}), descriptor {event.descriptor}",
                **_about(event),
                **dobby,
            )
        case StateChanged():
            tell = log.debug if event.former.state is event.substate.state else log.info
            tell(
                f"container {quoted(event.id)} is {event.substate}, was {event.former}",
                **_about(event),
                **dobby,
            )
        case ContainerRestarted():
            told = f"container {quoted(event.id)} has crashed and been restarted by Dobby"
            log.warning(told, MESSAGE_ID=MessageId.CONTAINER_RESTARTED, **_about(event), **dobby)
        case ContainerEnded():
            _record_end(event, dobby)
        case _:
            pass  # a doubt or a plan is no news


def _record_status(event: StatusChanged, dobby: dict[str, str]) -> None:
    log = structlog.get_logger()
    fields: dict[str, str] = {"DOBBY_STATUS": event.status.value} | dobby
    if event.status in STATUS_IDS:
        fields["MESSAGE_ID"] = STATUS_IDS[event.status]
    healthy = event.status in {DobbyStatus.READY, DobbyStatus.STARTING}
    (log.info if healthy else log.warning)(STATUS_TEXTS[event.status], **fields)


def _record_end(event: ContainerEnded, dobby: dict[str, str]) -> None:
    log = structlog.get_logger()
    told = f"container {quoted(event.id)} {_ended(event.exit)}"
    fields = _about(event) | _exit_fields(event.exit) | dobby
    if event.exit.failure_code is None:
        log.info(told, **fields)
    else:
        log.warning(told, MESSAGE_ID=MessageId.CONTAINER_FAILED, **fields)


def _ended(record: Exit) -> str:
    """How, in words."""
    if record.wait_status is None:
        how = GONE_TEXTS.get(record.reason, "has ended, it is not known how")
    elif record.signal is not None:
        how = (
            f"was killed by signal {record.signal}{' (core dumped)' if record.core_dumped else ''}"
        )
        if record.reason is Reason.DOBBY_GONE:
            how += ", and Dobby has gone: both were most likely stopped together"
    elif record.exit_code is not None:
        how = f"has exited with {record.exit_code}"
    else:
        how = f"has ended with the status {record.wait_status}, which says nothing"
    return f"{how}, as {record.requested_by} had asked" if record.requested_by is not None else how


def _about(
    event: ContainerStarted | StateChanged | ContainerEnded | ContainerRestarted,
) -> dict[str, Any]:
    return {"CONTAINER_ID": event.id[:256], "DESCRIPTOR": event.descriptor}


def _exit_fields(record: Exit) -> dict[str, Any]:
    """What an operator may filter by; who asked is CALLER_… as with a call."""
    fields: dict[str, Any] = {"EXIT_REASON": record.reason.value}
    if record.wait_status is not None:
        fields["WAIT_STATUS"] = record.wait_status
    return fields if record.requested_by is None else fields | record.requested_by.fields
