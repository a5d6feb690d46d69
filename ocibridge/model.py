"""What a container is, in the words of the document and of ours (design 4, 5)."""

import os
import signal
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from ocibridge.text import quoted


class State(StrEnum):
    """The document's closed vocabulary."""

    INVALID = "Invalid"
    STARTING = "Starting"
    RUNNING = "Running"
    STOPPED = "Stopped"
    PAUSED = "Paused"


class SubState(StrEnum):
    """What Dobby tells apart, as systemd's SubState stands to its ActiveState."""

    INVALID = "Invalid"
    STARTING = "Starting"
    RUNNING = "Running"
    STOPPING = "Stopping"
    PAUSED = "Paused"
    HIBERNATING = "Hibernating"
    HIBERNATED = "Hibernated"
    AWAKENING = "Awakening"
    STOPPED = "Stopped"

    @property
    def state(self) -> State:
        """The document's word: while it changes, a container has the state that it is leaving."""
        return STATES[self]


# A substate that is no word of the document's is the state that the container is leaving.
STATES: Final = {SubState(state.value): state for state in State} | {
    SubState.STOPPING: State.RUNNING,
    SubState.HIBERNATING: State.RUNNING,
    SubState.HIBERNATED: State.PAUSED,
    SubState.AWAKENING: State.PAUSED,
}


class Origin(StrEnum):
    """How a container was started, as far as we know."""

    BUNDLE = "bundle"
    SPEC = "spec"
    UNKNOWN = "unknown"


class DobbyStatus(StrEnum):
    """What can be had of Dobby; only `ready` means that it can be asked."""

    ABSENT = "absent"
    STARTING = "starting"
    READY = "ready"
    DEAF = "deaf"
    STALLED = "stalled"


UNKNOWN_UID: Final = -1


@dataclass(slots=True, eq=False)
class Caller:
    """A connection to the bus that asks for something.

    `uid` and `pid` are -1 and `comm` "" until the bus has told them, and for good where the caller left before that.
    `is_privileged`: root, the daemon's own user, or a member of the group that the bus's policy allows everything.
    """

    sender: str
    uid: int = UNKNOWN_UID
    pid: int = -1
    comm: str = ""
    is_privileged: bool = False

    def __str__(self) -> str:
        # Any program may call itself what it likes (prctl(2), PR_SET_NAME).
        return f"uid {self.uid} ({quoted(self.comm or self.sender)[1:-1]})"

    @property
    def fields(self) -> dict[str, Any]:
        """As the journal's fields (design 12)."""
        return {
            "SENDER": self.sender,
            "CALLER_UID": self.uid,
            "CALLER_PID": self.pid,
            "CALLER_COMM": self.comm,
        }


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a start of ours that is under way will make, if it succeeds.

    `plugins`: whether the bundle's config.json has an `rdkPlugins` object; None where that is not known
    (facts, point 3: without one, GetInfo and the annotations kill Dobby).
    """

    origin: Origin
    bundle_path: str = ""
    has_rdk_plugins: bool | None = None


UNKNOWN_PROVENANCE = Provenance(Origin.UNKNOWN)


@dataclass(slots=True, eq=False)
class StopRequest:
    """A stop through us: who asked for it first, whether it is still under way, and whether Dobby has accepted it."""

    by: Caller
    under_way: bool = True
    accepted: bool = False


@dataclass(slots=True, eq=False)
class Container:
    """One container of the present Dobby. The mirror alone changes it; everyone else only looks.

    `started_at`, `changed_at` (the last change of its state): microseconds since the epoch, 0 if before our time.
    The rest is the mirror's: what Dobby has said (`reported`, `wait_status`), stops of ours that are under way or whose
    time was over, what has been announced, and the doubts (positions of the mirror).

    `held_at`: where Dobby told of a death by SIGTERM or SIGKILL that nobody asked us for, as long as Dobby may be leaving
    itself. `ended`: Dobby has said that it is gone, and only the announcement is held back. `hibernated_at`, `awoken_at`:
    where Dobby last signalled that.
    """

    id: str
    descriptor: int
    plan: Provenance = UNKNOWN_PROVENANCE
    started_at: int = 0
    changed_at: int = 0
    reported: SubState = SubState.RUNNING
    wait_status: int | None = None
    stops: list[StopRequest] = field(default_factory=list)
    announced: SubState | None = None
    missing: bool = False
    unconfirmed_at: int | None = None
    invalid_at: int | None = None
    held_at: int | None = None
    ended: bool = False
    restarted_at: int = 0
    hibernated_at: int = 0
    awoken_at: int = 0

    @property
    def substate(self) -> SubState:
        """Dobby never shows Stopping (facts, point 6): a stop of ours under way does."""
        if (
            self.stops
            and self.reported is SubState.RUNNING
            and any(stop.under_way for stop in self.stops)
        ):
            return SubState.STOPPING
        return self.reported

    def __str__(self) -> str:
        return f"container {quoted(self.id)} ({self.substate.state}, descriptor {self.descriptor})"


# Which container an operation is about: an id or a descriptor's decimal text, or the container itself.
ContainerRef = str | Container


def name_of(container_ref: ContainerRef) -> str:
    """What the caller calls it."""
    return container_ref if isinstance(container_ref, str) else container_ref.id


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
    return (
        Reason.CRASHED if wait_status is not None and os.WIFSIGNALED(wait_status) else Reason.EXITED
    )


def is_by_stop_signal(wait_status: int) -> bool:
    """Whether SIGTERM or SIGKILL ended it."""
    return os.WIFSIGNALED(wait_status) and os.WTERMSIG(wait_status) in STOP_SIGNALS
