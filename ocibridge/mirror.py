"""The mirror: observations of Dobby in, events out (design 6).

It knows no bus and has no clock: time is the order of the observations, counted by `position`. Whoever asks Dobby
notes the position when the question goes out; the answer leaves alone whatever has been touched since, because a
List that overtook a signal must neither bring back the dead nor lose the living.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from ocibridge import observations as obs
from ocibridge.model import UNKNOWN_PLAN, Container, DobbyStatus, Plan, SubState

# How many ids that came and went are remembered, so that an answer older than their end does not bring them back.
REMEMBERED_TOUCHES: Final = 1024
# The exact decimal text of a descriptor, which is 1 to 1023 (facts 5): "091" and "+91" are none.
DECIMAL: Final = re.compile("[1-9][0-9]{0,9}", re.ASCII)


class Mirror:
    """The one copy of what Dobby has. `emit` is called with each event, in order, while `observe` runs."""

    def __init__(self, emit: Callable[[obs.Event], None]) -> None:
        self._emit = emit
        self._life: str | None = None
        self._containers: dict[str, Container] = {}
        self._by_descriptor: dict[int, Container] = {}
        self._plans: dict[str, Plan] = {}
        self._touched: dict[str, int] = {}
        self._recalled: dict[tuple[str, int], Plan] = {}
        self._rules: dict[type[obs.Observation], Callable[[Any], None]] = {
            obs.DobbyAppeared: self._dobby_appeared,
            obs.DobbyLost: self._dobby_lost,
            obs.StatusSeen: self._status_seen,
            obs.PictureTaken: self._picture_taken,
            obs.Started: self._started,
            obs.Stopped: self._stopped,
            obs.StateSignal: self._state_signalled,
            obs.Listed: self._listed,
            obs.StateSeen: self._state_seen,
            obs.StartAnswered: self._start_answered,
            obs.EndBelieved: self._end_believed,
        }
        self.status = DobbyStatus.ABSENT
        self.position = 0
        self.count = 0  # containers that have been announced and have not ended

    # What is there.

    @property
    def life(self) -> str | None:
        """The unique name of the Dobby that this is the picture of; None while there is none."""
        return self._life

    def listing(self) -> list[Container]:
        """The containers of Dobby's last List and of all signals since, by id."""
        return sorted((c for c in self._containers.values() if not c.missing), key=lambda c: c.id)

    def find(self, text: str) -> Container | None:
        """The container of that id, or of that descriptor in its exact decimal text. Ids have a letter: no clash."""
        found = self._containers.get(text)
        if found is None and DECIMAL.fullmatch(text):
            found = self._by_descriptor.get(int(text))
        return None if found is None or found.missing else found

    def is_starting(self, container_id: str) -> bool:
        """Whether a start of ours of that id is under way."""
        return container_id in self._plans

    # What we are about to do.

    def plan_start(self, container_id: str, plan: Plan) -> None:
        """A start of ours goes out; a `StartAnswered` ends it."""
        self._plans[container_id] = plan
        self._emit(obs.PlansChanged())

    def plans(self) -> dict[tuple[str, int], Plan]:
        """What is known of containers, by (id, descriptor), and of starts under way, by (id, 0)."""
        known = {(c.id, c.descriptor): c.plan for c in self._containers.values() if c.plan is not UNKNOWN_PLAN}
        return known | {(container_id, 0): plan for container_id, plan in self._plans.items()}

    def recall(self, plans: dict[tuple[str, int], Plan]) -> None:
        """What was known of this life's containers, by (id, descriptor), before we were restarted."""
        self._recalled = plans

    # What is seen.

    def observe(self, seen: obs.Observation) -> None:
        """Take in one observation. What comes from an older life is dropped."""
        if seen.life != self._life and not isinstance(seen, obs.DobbyAppeared):
            return
        self.position += 1
        self._rules[type(seen)](seen)

    def _dobby_appeared(self, seen: obs.DobbyAppeared) -> None:
        if self._life is not None:
            self._forget_all()
        self._life = seen.life
        self._set_status(DobbyStatus.STARTING)

    def _dobby_lost(self, _: obs.DobbyLost) -> None:
        self._forget_all()

    def _status_seen(self, seen: obs.StatusSeen) -> None:
        self._set_status(seen.status)

    def _picture_taken(self, _: obs.PictureTaken) -> None:
        for container in sorted(self._containers.values(), key=lambda c: c.id):
            self._announce(container)
        self._recalled = {}  # it has served: whatever comes from now on is new
        self._set_status(DobbyStatus.READY)

    def _started(self, seen: obs.Started) -> None:
        known = self._containers.get(seen.id)
        if known is None or known.descriptor != seen.descriptor:
            self._add(seen.id, seen.descriptor, self._plans.get(seen.id, UNKNOWN_PLAN))
        else:
            known.reported, known.missing = SubState.RUNNING, False
        self._touch(seen.id)

    def _stopped(self, seen: obs.Stopped) -> None:
        self._touch(seen.id)
        known = self._known(seen.id, seen.descriptor)
        if known is None:
            return
        if known.plan.origin == "bundle":
            self._end(known, obs.EndCause.STOPPED)
        else:
            known.doubted_at = self.position
            self._emit(obs.EndDoubted(known.id, known.descriptor, self.position, unannounced=False))

    def _state_signalled(self, seen: obs.StateSignal) -> None:
        known = self._known(seen.id, seen.descriptor)
        if known is not None:
            known.reported = seen.substate
            self._touch(seen.id)

    def _listed(self, seen: obs.Listed) -> None:
        present = {container_id: descriptor for descriptor, container_id in seen.entries if descriptor > 0}
        for container_id, descriptor in present.items():
            self._take_listed(container_id, descriptor, seen.asked)
        for absent in [c for c in self._containers.values() if c.id not in present]:
            self._take_unlisted(absent, seen.asked)

    def _state_seen(self, seen: obs.StateSeen) -> None:
        known = self._by_descriptor.get(seen.descriptor)
        if known is not None and self._settled(known.id, seen.asked) and seen.substate is not SubState.INVALID:
            known.reported = seen.substate

    def _start_answered(self, seen: obs.StartAnswered) -> None:
        plan = self._plans.pop(seen.id, UNKNOWN_PLAN)
        self._emit(obs.PlansChanged())
        known = self._containers.get(seen.id)
        if known is not None:
            # Somebody else's start of the same id was the one that succeeded: then our plan says nothing of it.
            if known.plan is plan and known.descriptor != seen.descriptor:
                known.plan = UNKNOWN_PLAN
            elif known.descriptor == seen.descriptor:
                known.plan = plan
        elif seen.descriptor > 0 and self._settled(seen.id, seen.asked):
            self._add(seen.id, seen.descriptor, plan)
            self._touch(seen.id)

    def _end_believed(self, seen: obs.EndBelieved) -> None:
        known = self._known(seen.id, seen.descriptor)
        if known is not None and (known.missing or known.doubted_at == seen.at):
            self._end_doubted(known)

    # The steps that these are made of.

    def _take_listed(self, container_id: str, descriptor: int, asked: int) -> None:
        known = self._containers.get(container_id)
        if known is not None and known.descriptor == descriptor:
            known.missing = False
            if known.doubted_at is not None and asked >= known.doubted_at:
                known.doubted_at = None
                self._emit(obs.ContainerRestarted(container_id, descriptor))
        elif self._settled(container_id, asked):
            self._add(container_id, descriptor, UNKNOWN_PLAN)

    def _take_unlisted(self, container: Container, asked: int) -> None:
        if not self._settled(container.id, asked):
            return
        if container.doubted_at is not None:
            self._end(container, obs.EndCause.STOPPED)
        else:
            container.missing = True
            self._emit(obs.EndDoubted(container.id, container.descriptor, self.position, unannounced=True))

    def _known(self, container_id: str, descriptor: int) -> Container | None:
        known = self._containers.get(container_id)
        return known if known is not None and known.descriptor == descriptor else None

    def _settled(self, container_id: str, asked: int) -> bool:
        return self._touched.get(container_id, 0) <= asked

    def _touch(self, container_id: str) -> None:
        self._touched.pop(container_id, None)
        self._touched[container_id] = self.position
        while len(self._touched) > REMEMBERED_TOUCHES + len(self._containers):
            self._touched.pop(next(iter(self._touched)))

    def _add(self, container_id: str, descriptor: int, plan: Plan) -> None:
        for clash in (self._containers.get(container_id), self._by_descriptor.get(descriptor)):
            if clash is not None:
                self._end_doubted(clash)
        if plan is UNKNOWN_PLAN:
            under_way = self._recalled.get((container_id, 0), plan)  # its start was not over when we were stopped
            plan = self._recalled.get((container_id, descriptor), under_way)
        container = Container(container_id, descriptor, plan)
        self._containers[container_id] = self._by_descriptor[descriptor] = container
        if self.status is not DobbyStatus.STARTING:
            self._announce(container)

    def _announce(self, container: Container) -> None:
        if not container.announced:
            container.announced = True
            self.count += 1
            self._emit(obs.ContainerStarted(container.id, container.descriptor))

    def _end_doubted(self, container: Container) -> None:
        self._end(container, obs.EndCause.LOST if container.doubted_at is None else obs.EndCause.STOPPED)

    def _end(self, container: Container, cause: obs.EndCause) -> None:
        if self._containers.get(container.id) is not container:
            return
        del self._containers[container.id]
        del self._by_descriptor[container.descriptor]
        if container.announced:
            self.count -= 1
            self._emit(obs.ContainerEnded(container.id, container.descriptor, cause))

    def _forget_all(self) -> None:
        self._life = None
        self._plans.clear()
        self._touched.clear()
        self._recalled = {}
        self._set_status(DobbyStatus.ABSENT)
        for container in sorted(self._containers.values(), key=lambda c: c.id):
            self._end(container, obs.EndCause.DOBBY_GONE)

    def _set_status(self, status: DobbyStatus) -> None:
        if status is not self.status:
            self.status = status
            self._emit(obs.StatusChanged(status))
