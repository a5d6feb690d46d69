# SPDX-License-Identifier: Apache-2.0
"""What each status of Dobby means to a reader, and what to do: for errors and the journal."""

from typing import Final, NamedTuple

from ocibridge.model import DobbyStatus


class StatusText(NamedTuple):
    """`condition` can be followed by "since …"; `advice` is "" where there is nothing to do."""

    condition: str
    advice: str = ""


# A restart with a paused container took three minutes and failed (docs/dobby.md, Life and death).
_RESTART: Final = "restart it (systemctl restart dobby; resume paused containers first)"
STATUS_TEXTS: Final = {
    DobbyStatus.ABSENT: StatusText(
        "Dobby is not on the bus", "is it running? (systemctl status dobby)"
    ),
    DobbyStatus.STARTING: StatusText("Dobby is starting and does not take calls yet"),
    DobbyStatus.READY: StatusText("Dobby is ready"),
    DobbyStatus.DEAF: StatusText("Dobby has no reply slot left and answers no calls", _RESTART),
    DobbyStatus.STALLED: StatusText("Dobby has stopped answering", f"if that lasts, {_RESTART}"),
}


def status_text(status: DobbyStatus, since: str = "") -> str:
    """One line: the condition, since when (a time of day, "" to omit it), and what to do."""
    condition, advice = STATUS_TEXTS[status]
    return "; ".join(filter(None, (f"{condition} since {since}" if since else condition, advice)))
