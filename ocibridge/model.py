# SPDX-License-Identifier: Apache-2.0
"""Containers, their states and exits (docs/design.md, States; Exit records)."""

import os
import re
import signal
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from ocibridge.text import quoted


class State(StrEnum):
    """The states of the RDK document; it has no others."""

    INVALID = "Invalid"
    STARTING = "Starting"
    RUNNING = "Running"
    STOPPED = "Stopped"
    PAUSED = "Paused"


class SubState(StrEnum):
    """The states that Dobby distinguishes: finer than `State`, as systemd's SubState."""

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
        """The document's state. A container in transition is in the state that it is leaving."""
        return STATES[self]


STATES: Final = {SubState(state.value): state for state in State} | {
    SubState.STOPPING: State.RUNNING,
    SubState.HIBERNATING: State.RUNNING,
    SubState.HIBERNATED: State.PAUSED,
    SubState.AWAKENING: State.PAUSED,
}


class Origin(StrEnum):
    """What a container was started from, as far as we know."""

    BUNDLE = "bundle"
    SPEC = "spec"
    UNKNOWN = "unknown"


class DobbyStatus(StrEnum):
    """Whether Dobby can be called: only if READY (docs/design.md, Dobby's side)."""

    ABSENT = "absent"
    STARTING = "starting"
    READY = "ready"
    DEAF = "deaf"
    STALLED = "stalled"


UNKNOWN_UID: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """A user, and the groups of its process. A number that has no name has the name ""."""

    uid: int
    user: str = ""
    groups: tuple[tuple[int, str], ...] = ()

    def __str__(self) -> str:
        return f"user {quoted(self.user)} (uid {self.uid})" if self.user else f"uid {self.uid}"


@dataclass(slots=True, eq=False)
class Caller:
    """A bus connection that calls us.

    `uid` and `pid` are -1 and `comm` is "" until the bus has supplied them. They stay so if the
    caller disconnects before. `is_privileged`: root, the daemon's own user, or a member of a group
    that the bus policy allows everything. `gids`: of its groups; None if the bus does not give
    them. `identity` is None until a call needs it.
    """

    sender: str
    uid: int = UNKNOWN_UID
    pid: int = -1
    comm: str = ""
    is_privileged: bool = False
    gids: tuple[int, ...] | None = None
    identity: Identity | None = None

    def __str__(self) -> str:
        # Quoted: a program chooses its own comm freely (prctl(2), PR_SET_NAME).
        return f"uid {self.uid} ({quoted(self.comm or self.sender)[1:-1]})"

    @property
    def fields(self) -> dict[str, Any]:
        """As journal fields (docs/design.md, systemd and the journal)."""
        return {
            "SENDER": self.sender,
            "CALLER_UID": self.uid,
            "CALLER_PID": self.pid,
            "CALLER_COMM": self.comm,
        }


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a container comes from.

    `has_rdk_plugins`: whether the bundle's config.json has an `rdkPlugins` object, None if unknown.
    Without one, GetInfo and annotations crash Dobby (docs/dobby.md, Calls that crash Dobby).
    """

    origin: Origin
    bundle_path: str = ""
    has_rdk_plugins: bool | None = None


UNKNOWN_PROVENANCE = Provenance(Origin.UNKNOWN)


@dataclass(slots=True, eq=False)
class StopRequest:
    """A stop through us: its first caller, whether it is in progress, whether Dobby accepted it."""

    by: Caller
    under_way: bool = True
    accepted: bool = False


@dataclass(slots=True, eq=False)
class Container:
    """One container of the present Dobby. Only the mirror's registry changes it.

    Read by everyone: `id`, `descriptor`, `provenance`, `substate`; and `started_at`, `changed_at`
    (the last change of its state), in microseconds since the epoch, 0 if before our start.

    The rest serves the mirror. Fields named `…_at` without a unit are positions of the mirror.

    * `reported`, `wait_status`: what Dobby reported last.
    * `stops`: stops through us that are in progress or have timed out, oldest first.
    * `announced`: the substate that was announced last; None before the first announcement.
    * `missing`: the last List did not have it.
    * `unconfirmed_at`: where Dobby signalled an end that may be a restart.
    * `invalid_at`: where GetState was INVALID without a later List to confirm it.
    * `held_at`: where SIGTERM or SIGKILL ended it without a request through us. Its end is held
      back, since Dobby itself may be about to leave.
    * `ended`: it has ended, and only the announcement is held back.
    * `restarted_at`: when Dobby last signalled Started again; microseconds since the epoch.
    * `hibernated_at`, `awoken_at`: where Dobby last signalled Hibernated, Awoken.
    """

    id: str
    descriptor: int
    provenance: Provenance = UNKNOWN_PROVENANCE
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
        """What Dobby reported, but Stopping while a stop through us is in progress.

        Dobby itself never reports Stopping (docs/dobby.md, States and their numbers).
        """
        if (
            self.stops
            and self.reported is SubState.RUNNING
            and any(stop.under_way for stop in self.stops)
        ):
            return SubState.STOPPING
        return self.reported

    def __str__(self) -> str:
        return f"container {quoted(self.id)} ({self.substate.state}, descriptor {self.descriptor})"


# What an id consists of (docs/dobby.md, Descriptors and ids).
ID_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
# The container of an operation: an id, a descriptor in decimal text, or the container itself.
ContainerRef = str | Container


def name_of(container_ref: ContainerRef) -> str:
    """What the caller calls it: the text that was passed, else the id."""
    return container_ref if isinstance(container_ref, str) else container_ref.id


# systemd sends these to all processes of a service that it stops.
STOP_SIGNALS: Final = {signal.SIGTERM, signal.SIGKILL}


class Reason(StrEnum):
    """Why a container ended, as far as we can tell."""

    REQUESTED = "requested"  # a stop through us was in progress, or had timed out earlier
    EXITED = "exited"  # with an exit code, or with an unknown status
    CRASHED = "crashed"  # by a signal; a stop by another client of Dobby looks the same
    LOST = "lost"  # it vanished from Dobby's List without a signal
    DOBBY_GONE = "dobby-gone"  # Dobby left the bus; the container may still run


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended.

    `started_at` and `stopped_at` are microseconds since the epoch; `started_at` is 0 if that was
    before our start. `requested_by` is the first caller who asked us for a stop. `wait_status` is
    what Dobby reported, unchanged, or None. It can be wrong (docs/dobby.md, Exit status).
    """

    reason: Reason
    wait_status: int | None
    requested_by: Caller | None
    started_at: int
    stopped_at: int

    @property
    def exit_code(self) -> int | None:
        """0 to 255; None unless the status is that of an exit."""
        known = self.wait_status is not None and os.WIFEXITED(self.wait_status)
        return os.WEXITSTATUS(self.wait_status or 0) if known else None

    @property
    def signal(self) -> int | None:
        """The signal's number; None unless the status is that of a death by signal."""
        known = self.wait_status is not None and os.WIFSIGNALED(self.wait_status)
        return os.WTERMSIG(self.wait_status or 0) if known else None

    @property
    def core_dumped(self) -> bool:
        """As the status says. Dobby does not know it, and derives it from the signal."""
        return self.signal is not None and os.WCOREDUMP(self.wait_status or 0)

    @property
    def failure_code(self) -> int | None:
        """The `errorCode` of onContainerFailed; None if there is no failure to signal.

        An end is no failure if it was successful or requested through us.
        """
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
    """The reason of an end. `gone`: why we inferred the end, None if Dobby reported it."""
    if gone is Reason.DOBBY_GONE:
        return gone
    if requested:
        return Reason.REQUESTED
    if gone is not None:
        return gone
    is_killed = wait_status is not None and os.WIFSIGNALED(wait_status)
    return Reason.CRASHED if is_killed else Reason.EXITED


def is_by_stop_signal(wait_status: int) -> bool:
    """Whether this is the status of a death by SIGTERM or SIGKILL."""
    return os.WIFSIGNALED(wait_status) and os.WTERMSIG(wait_status) in STOP_SIGNALS
