"""What is seen of Dobby (design 6).

Every observation carries the `life` (Dobby's unique name on the bus) that it comes from. An answer also carries
`asked`: the mirror's position when the question was sent, so that what has changed since is not overwritten.
"""

from dataclasses import dataclass

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
class EndStatus(Observation):
    """Dobby's signal StoppedWithStatus, just before Stopped: a wait status, and not always the end either."""

    descriptor: int
    id: str
    wait_status: int


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
