"""What a container is, in the words of the document and of ours (design 4, 5)."""

from dataclasses import dataclass
from enum import StrEnum

from ocibridge.errors import shown


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
        match self:
            case SubState.STOPPING | SubState.HIBERNATING:
                return State.RUNNING
            case SubState.HIBERNATED | SubState.AWAKENING:
                return State.PAUSED
            case _:
                return State(self.value)


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


@dataclass(frozen=True, slots=True)
class Plan:
    """What a start of ours that is under way will make, if it succeeds.

    `plugins`: whether the bundle's config.json has an `rdkPlugins` object; None where that is not known
    (facts, point 3: without one, GetInfo and the annotations kill Dobby).
    """

    origin: Origin
    bundle_path: str = ""
    plugins: bool | None = None


UNKNOWN_PLAN = Plan(Origin.UNKNOWN)


@dataclass(slots=True, eq=False)
class Container:
    """One container of the present Dobby. The mirror alone changes it; everyone else only looks."""

    id: str
    descriptor: int
    plan: Plan = UNKNOWN_PLAN
    reported: SubState = SubState.RUNNING
    stopping: int = 0  # stops of ours under way
    announced: bool = False
    missing: bool = False
    doubted_at: int | None = None

    @property
    def substate(self) -> SubState:
        """Dobby never shows Stopping (facts, point 6): a stop of ours under way does."""
        if self.stopping and self.reported is SubState.RUNNING:
            return SubState.STOPPING
        return self.reported

    def __str__(self) -> str:
        return f"container {shown(self.id)} ({self.substate.state}, descriptor {self.descriptor})"
