# SPDX-License-Identifier: Apache-2.0
"""The events that the mirror emits: each once, and in order (docs/design.md, Events and exits)."""

from dataclasses import dataclass

from ocibridge.model import DobbyStatus, Exit, SubState


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """Dobby's status has changed to `status`."""

    status: DobbyStatus


@dataclass(frozen=True, slots=True)
class PendingStartsChanged:
    """A start of ours for that id has begun, is about to be sent, or is over."""

    id: str


@dataclass(frozen=True, slots=True)
class ContainerFound:
    """A List contains a container that no signal has reported.

    It is announced as soon as its state is known, so a consumer has to ask Dobby for that.
    """

    id: str
    descriptor: int


@dataclass(frozen=True, slots=True)
class ContainerStarted:
    """A container exists, in that substate."""

    id: str
    descriptor: int
    substate: SubState


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A container's substate has changed from `former`. Its state may be the same as before."""

    id: str
    descriptor: int
    substate: SubState
    former: SubState


@dataclass(frozen=True, slots=True)
class ProvenanceCorrected:
    """The provenance of a container was wrong: our start and another client's were confused."""

    id: str
    descriptor: int


@dataclass(frozen=True, slots=True)
class ContainerRestarted:
    """An apparent end was a restart by Dobby (docs/dobby.md, restartOnCrash).

    `started_at`: microseconds since the epoch.
    """

    id: str
    descriptor: int
    started_at: int


@dataclass(frozen=True, slots=True)
class EndUnconfirmed:
    """A container may have ended. A consumer has to ask List again, then observe `EndConfirmed`.

    `at`: the mirror's position when the question arose. `unannounced`: there was no signal, and the
    container is missing from a List. This event is then repeated for each List that lacks it.
    """

    id: str
    descriptor: int
    at: int
    unannounced: bool


@dataclass(frozen=True, slots=True)
class EndHeld:
    """SIGTERM or SIGKILL ended a container without a request through us.

    Its end is held back, since Dobby itself may be about to leave. A consumer has to observe
    `HoldOver` after a while. `at`: the mirror's position.
    """

    id: str
    descriptor: int
    at: int


@dataclass(frozen=True, slots=True)
class ContainerEnded:
    """A container has ended; its last substate was `former`."""

    id: str
    descriptor: int
    former: SubState
    exit: Exit


@dataclass(frozen=True, slots=True)
class UnannouncedEnd:
    """A container that was never announced has ended: a List found it, and its state was unknown.

    Only for those inside ocibridge who wait for that end; clients and the journal have not been
    told of the container.
    """

    id: str
    descriptor: int
    exit: Exit


Event = (
    StatusChanged
    | PendingStartsChanged
    | ContainerFound
    | ContainerStarted
    | StateChanged
    | ProvenanceCorrected
    | ContainerRestarted
    | EndUnconfirmed
    | EndHeld
    | ContainerEnded
    | UnannouncedEnd
)
