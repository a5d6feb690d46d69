"""What the mirror makes of its observations, in order, each once (design 5, 6)."""

from dataclasses import dataclass

from ocibridge.model import DobbyStatus, Exit, SubState


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """Dobby's status is another one."""

    status: DobbyStatus


@dataclass(frozen=True, slots=True)
class PendingStartsChanged:
    """A start of ours of that id has begun, is about to go out, or is over."""

    id: str


@dataclass(frozen=True, slots=True)
class ContainerFound:
    """A List names a container that no signal told of: somebody should ask its state, then it is announced."""

    id: str
    descriptor: int


@dataclass(frozen=True, slots=True)
class ContainerStarted:
    """A container is there, in that state."""

    id: str
    descriptor: int
    substate: SubState


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A container's state, or its finer substate alone, is another one than `former`."""

    id: str
    descriptor: int
    substate: SubState
    former: SubState


@dataclass(frozen=True, slots=True)
class ProvenanceCorrected:
    """A container was taken for what our own start of that id would make, and it was somebody else's (or the reverse)."""

    id: str
    descriptor: int


@dataclass(frozen=True, slots=True)
class ContainerRestarted:
    """What looked like an end was a restart by Dobby (restartOnCrash)."""

    id: str
    descriptor: int
    started_at: int


@dataclass(frozen=True, slots=True)
class EndUnconfirmed:
    """A container may have ended; somebody should ask Dobby's List again (after a while if `unannounced`).

    `at` is the mirror's position at the doubt. Told again by each List that lacks the container.
    """

    id: str
    descriptor: int
    at: int
    unannounced: bool


@dataclass(frozen=True, slots=True)
class EndHeld:
    """SIGTERM or SIGKILL ended a container and nobody asked us for it: Dobby itself may be about to leave.

    Somebody should observe `HoldOver` after a while. `at` is the mirror's position.
    """

    id: str
    descriptor: int
    at: int


@dataclass(frozen=True, slots=True)
class ContainerEnded:
    """A container is gone; it was in substate `former`."""

    id: str
    descriptor: int
    former: SubState
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
)
