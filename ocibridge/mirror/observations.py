"""What is seen of Dobby (design 6).

Every observation carries the `life` (Dobby's unique name on the bus) that it comes from. An answer also carries
`as_of`: the mirror's position when the question was sent, so that what has changed since is not overwritten.
"""

import msgspec

from ocibridge.model import DobbyStatus, SubState


class Observation(msgspec.Struct, frozen=True):
    """Something seen of the Dobby of that life."""

    owner: str


class DobbyAppeared(Observation, frozen=True):
    """The name has an owner; whether it can be asked is not known yet."""


class DobbyLost(Observation, frozen=True):
    """The name has lost that owner: its containers are no longer known (facts 6)."""


class StatusSeen(Observation, frozen=True):
    """Starting, deaf or stalled."""

    status: DobbyStatus


class SnapshotTaken(Observation, frozen=True):
    """A List and the state of each container in it are in: Dobby is ready and the mirror true."""


class Started(Observation, frozen=True):
    """Dobby's signal. Comes before the reply to the start; again at a restart (restartOnCrash)."""

    descriptor: int
    id: str


class Stopped(Observation, frozen=True):
    """Dobby's signal. Not always the end: a spec may say restartOnCrash (facts 3)."""

    descriptor: int
    id: str


class EndStatus(Observation, frozen=True):
    """Dobby's signal StoppedWithStatus, just before Stopped: a wait status, and not always the end either."""

    descriptor: int
    id: str
    wait_status: int


class StateSignal(Observation, frozen=True):
    """Dobby's Hibernated or Awoken."""

    descriptor: int
    id: str
    substate: SubState


class Listed(Observation, frozen=True):
    """The answer to List: (descriptor, id) of each container."""

    as_of: int
    entries: tuple[tuple[int, str], ...]


class StateSeen(Observation, frozen=True):
    """The answer to GetState; INVALID where Dobby said 0 or a number that nobody knows."""

    as_of: int
    descriptor: int
    substate: SubState


class StartAnswered(Observation, frozen=True):
    """A start of ours is over: its descriptor, or 0 where it failed or no answer will come."""

    as_of: int
    id: str
    descriptor: int


class EndConfirmed(Observation, frozen=True):
    """A doubted end that nothing has contradicted: it is taken as the end. `at` is that of the doubt."""

    id: str
    descriptor: int
    at: int


class HoldOver(Observation, frozen=True):
    """Dobby has stayed: an end that was held back is told now. `at` is that of the holding."""

    id: str
    descriptor: int
    at: int
