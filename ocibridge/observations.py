"""What is seen of Dobby, and what the mirror makes of it (design 5, 6).

Every observation carries the `life` (Dobby's unique name on the bus) that it comes from. An answer also carries
`asked`: the mirror's position when the question was sent, so that what has changed since is not overwritten.
"""

from dataclasses import dataclass
from enum import StrEnum

from ocibridge.model import DobbyStatus, SubState


@dataclass(frozen=True, slots=True)
class Observation:
    """Something seen of the Dobby of that life."""

    life: str


@dataclass(frozen=True, slots=True)
class DobbyAppeared(Observation):
    """The name has an owner; whether it can be asked is not known yet."""


@dataclass(frozen=True, slots=True)
class DobbyLost(Observation):
    """The name has lost that owner: its containers are no longer known (facts 6)."""


@dataclass(frozen=True, slots=True)
class StatusSeen(Observation):
    """Starting, deaf or stalled."""

    status: DobbyStatus


@dataclass(frozen=True, slots=True)
class PictureTaken(Observation):
    """A List and the state of each container in it are in: Dobby is ready and the mirror true."""


@dataclass(frozen=True, slots=True)
class Started(Observation):
    """Dobby's signal. Comes before the reply to the start; again at a restart (restartOnCrash)."""

    descriptor: int
    id: str


@dataclass(frozen=True, slots=True)
class Stopped(Observation):
    """Dobby's signal. Not always the end: a spec may say restartOnCrash (facts 3)."""

    descriptor: int
    id: str


@dataclass(frozen=True, slots=True)
class StateSignal(Observation):
    """Dobby's Hibernated or Awoken."""

    descriptor: int
    id: str
    substate: SubState


@dataclass(frozen=True, slots=True)
class Listed(Observation):
    """The answer to List: (descriptor, id) of each container."""

    asked: int
    entries: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class StateSeen(Observation):
    """The answer to GetState; INVALID where Dobby said 0 or a number that nobody knows."""

    asked: int
    descriptor: int
    substate: SubState


@dataclass(frozen=True, slots=True)
class StartAnswered(Observation):
    """A start of ours is over: its descriptor, or 0 where it failed or no answer will come."""

    asked: int
    id: str
    descriptor: int


@dataclass(frozen=True, slots=True)
class EndBelieved(Observation):
    """A doubted end that nothing has contradicted: it is taken as the end. `at` is that of the doubt."""

    id: str
    descriptor: int
    at: int


@dataclass(frozen=True, slots=True)
class PlansChanged:
    """Event: a start of ours is about to go out, or is over."""


class EndCause(StrEnum):
    """How we know that a container has ended."""

    STOPPED = "stopped"
    LOST = "lost"
    DOBBY_GONE = "dobby-gone"


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """Event: Dobby's status is another one."""

    status: DobbyStatus


@dataclass(frozen=True, slots=True)
class ContainerStarted:
    """Event: a container is there."""

    id: str
    descriptor: int


@dataclass(frozen=True, slots=True)
class ContainerEnded:
    """Event: a container is gone."""

    id: str
    descriptor: int
    cause: EndCause


@dataclass(frozen=True, slots=True)
class EndDoubted:
    """Event: a container may have ended; somebody should ask Dobby's List again (after a while if `unannounced`).

    `at` is the mirror's position at the doubt. Told again by each List that lacks the container.
    """

    id: str
    descriptor: int
    at: int
    unannounced: bool


@dataclass(frozen=True, slots=True)
class ContainerRestarted:
    """Event: what looked like an end was a restart by Dobby (restartOnCrash)."""

    id: str
    descriptor: int


Event = PlansChanged | StatusChanged | ContainerStarted | ContainerEnded | EndDoubted | ContainerRestarted
