# SPDX-License-Identifier: Apache-2.0
"""What is observed of Dobby (docs/design.md, The mirror).

Each observation carries Dobby's `owner`: the unique bus name of the Dobby process that it is about.
An answer also carries `as_of`: the mirror's position when the question was sent. The mirror ignores
the answer for each container of which it has learned something since.
"""

import msgspec

from ocibridge.model import DobbyStatus, SubState


class Observation(msgspec.Struct, frozen=True):
    """Something observed of the Dobby process with the unique name `owner`."""

    owner: str


class DobbyAppeared(Observation, frozen=True):
    """Dobby's name has this owner now. Whether it answers calls is not known yet."""


class DobbyLost(Observation, frozen=True):
    """Dobby's name no longer has this owner, which will not manage its containers again."""


class StatusSeen(Observation, frozen=True):
    """Dobby is starting, deaf or stalled."""

    status: DobbyStatus


class SnapshotTaken(Observation, frozen=True):
    """A List and a GetState of each container in it have been observed: Dobby is ready."""


class Started(Observation, frozen=True):
    """Dobby's signal. It precedes the reply to the start, and is repeated at a restartOnCrash."""

    descriptor: int
    id: str


class Stopped(Observation, frozen=True):
    """Dobby's signal. Not always the end of the container (docs/dobby.md, restartOnCrash)."""

    descriptor: int
    id: str


class EndStatus(Observation, frozen=True):
    """Dobby's signal StoppedWithStatus, sent just before Stopped. `wait_status`: as of wait(2)."""

    descriptor: int
    id: str
    wait_status: int


class StateSignal(Observation, frozen=True):
    """Dobby's signal Hibernated (`substate` HIBERNATED) or Awoken (RUNNING)."""

    descriptor: int
    id: str
    substate: SubState


class Listed(Observation, frozen=True):
    """The answer to List. `entries`: (descriptor, id) of each container."""

    as_of: int
    entries: tuple[tuple[int, str], ...]


class StateSeen(Observation, frozen=True):
    """The answer to GetState. INVALID: Dobby returned 0 or an unknown number."""

    as_of: int
    descriptor: int
    substate: SubState


class StartAnswered(Observation, frozen=True):
    """A start of ours is over. `descriptor` is 0 if it failed or will not be answered."""

    as_of: int
    id: str
    descriptor: int


class EndConfirmed(Observation, frozen=True):
    """Nothing contradicted an unconfirmed end. `at`: as in `EndUnconfirmed`."""

    id: str
    descriptor: int
    at: int


class HoldOver(Observation, frozen=True):
    """Dobby has not left, so an end need not be held back longer. `at`: as in `EndHeld`."""

    id: str
    descriptor: int
    at: int
