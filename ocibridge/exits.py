"""How a container ended (design 5): what is known of it, and what is made of that."""

import os
import signal
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ocibridge.model import Caller

# What systemd sends to all processes of a service that it stops.
STOP_SIGNALS: Final = {signal.SIGTERM, signal.SIGKILL}


class Reason(StrEnum):
    """Why it ended, as far as can be known."""

    REQUESTED = "requested"  # a stop through us was under way, or had timed out earlier
    EXITED = "exited"  # with an exit code; or no status is known
    CRASHED = "crashed"  # by a signal; a stop by another client of Dobby looks the same
    LOST = "lost"  # in no List, without a signal
    DOBBY_GONE = "dobby-gone"  # no longer known, whether or not it still runs (facts 6)


@dataclass(frozen=True, slots=True)
class Exit:
    """The record of one end. Times are microseconds since the epoch; `started_at` is 0 if that was before our time.

    `wait_status` is Dobby's word as it came, None if there was none. It can be a lie (facts, StoppedWithStatus): a
    container that exits with 129 to 192 looks killed, and one that ends while others start may look like exit 0.
    """

    reason: Reason
    wait_status: int | None
    requested_by: Caller | None
    started_at: int
    stopped_at: int

    @property
    def exit_code(self) -> int | None:
        """0 to 255, where the status tells of an exit."""
        known = self.wait_status is not None and os.WIFEXITED(self.wait_status)
        return os.WEXITSTATUS(self.wait_status or 0) if known else None

    @property
    def signal(self) -> int | None:
        """The number of the signal that ended it, where the status tells of one."""
        known = self.wait_status is not None and os.WIFSIGNALED(self.wait_status)
        return os.WTERMSIG(self.wait_status or 0) if known else None

    @property
    def core_dumped(self) -> bool:
        """What the status says; Dobby guesses it from the signal."""
        return self.signal is not None and os.WCOREDUMP(self.wait_status or 0)

    @property
    def failure_code(self) -> int | None:
        """The `errorCode` of onContainerFailed; None where it ended well, or somebody asked for it through us."""
        if self.requested_by is not None:
            return None
        match self.reason:
            case Reason.EXITED if self.exit_code:
                return 2
            case Reason.CRASHED:
                return 3
            case Reason.LOST | Reason.DOBBY_GONE:
                return 4
            case _:
                return None


def reason_of(wait_status: int | None, *, requested: bool, gone: Reason | None) -> Reason:
    """The reason; `gone` is LOST or DOBBY_GONE where that is how we know of the end, None where Dobby said it."""
    if gone is Reason.DOBBY_GONE:
        return gone
    if requested:
        return Reason.REQUESTED
    if gone is not None:
        return gone
    return Reason.CRASHED if wait_status is not None and os.WIFSIGNALED(wait_status) else Reason.EXITED


def is_by_stop_signal(wait_status: int) -> bool:
    """Whether SIGTERM or SIGKILL ended it."""
    return os.WIFSIGNALED(wait_status) and os.WTERMSIG(wait_status) in STOP_SIGNALS
