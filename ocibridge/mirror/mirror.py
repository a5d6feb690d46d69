"""The mirror: observations of Dobby in, events out (design 6).

It knows no bus and has no clock of its own: time is the order of the observations, counted by `position`. Whoever asks
Dobby notes the position when the question goes out; the answer leaves alone whatever has been touched since, because a
List that overtook a signal must neither bring back the dead nor lose the living.
"""

from collections.abc import Callable
from typing import Any, Final

from ocibridge.mirror import events
from ocibridge.mirror import observations as obs
from ocibridge.mirror.pending_starts import PendingStart, Plans
from ocibridge.mirror.registry import Picture
from ocibridge.model import UNKNOWN_PLAN, Caller, Container, DobbyStatus, Plan, Reason, StopRequest, SubState, is_by_stop_signal

# How many ids that came and went are remembered, so that an answer older than their end does not bring them back.
REMEMBERED: Final = 1024


class Order:
    """Counts the observations of Dobby, and remembers at which one each id was last touched by a signal."""

    def __init__(self) -> None:
        self.position = 0
        self._touched: dict[str, int] = {}

    def touch(self, container_id: str, living: int) -> None:
        """The present observation says something of it; `living` containers are remembered beyond the bound."""
        self._touched.pop(container_id, None)
        self._touched[container_id] = self.position
        while len(self._touched) > REMEMBERED + living:
            self._touched.pop(next(iter(self._touched)))

    def is_fresh(self, container_id: str, asked: int) -> bool:
        """Whether nothing has been said of it since that position, so that an answer asked for then counts."""
        return self._touched.get(container_id, 0) <= asked

    def forget(self) -> None:
        """The containers of another Dobby."""
        self._touched.clear()


class Mirror:
    """The one copy of what Dobby has. `emit` is called with each event, in order, while `observe` runs.

    `now` gives microseconds since the epoch, for the times that containers and exits carry. `life`: the unique name of the
    Dobby that this is the picture of; None while there is none.
    """

    def __init__(self, emit: Callable[[events.Event], None], now: Callable[[], int]) -> None:
        self._emit = emit
        self._now = now
        self.life: str | None = None
        self._picture = Picture(emit, now)
        self._plans = Plans()
        self._order = Order()
        self._rules: dict[type[obs.Observation], Callable[[Any], None]] = {
            obs.DobbyAppeared: self._dobby_appeared,
            obs.DobbyLost: lambda _: self._forget_all(),
            obs.StatusSeen: lambda seen: self._set_status(seen.status),
            obs.PictureTaken: self._picture_taken,
            obs.Started: self._started,
            obs.EndStatus: self._end_status,
            obs.Stopped: self._stopped,
            obs.StateSignal: self._state_signalled,
            obs.Listed: self._listed,
            obs.StateSeen: self._state_seen,
            obs.StartAnswered: self._start_answered,
            obs.EndBelieved: self._end_believed,
            obs.HoldOver: self._hold_over,
        }
        self.status = DobbyStatus.ABSENT

    @property
    def position(self) -> int:
        """How many observations there have been; a question notes it when it goes out."""
        return self._order.position

    # What is there.

    @property
    def count(self) -> int:
        """How many containers have been announced and have not ended."""
        return self._picture.count

    def listing(self) -> list[Container]:
        """The containers of Dobby's last List and of all signals since, by id."""
        return [c for c in self._picture if not (c.missing or c.ended)]

    def find(self, text: str) -> Container | None:
        """The container of that id, or of that descriptor in its exact decimal text."""
        found = self._picture.find(text)
        return None if found is None or found.missing or found.ended else found

    def is_known(self, text: str) -> bool:
        """Whether it has not ended as far as events tell, also where no List has it any more."""
        return self._picture.find(text) is not None

    def is_starting(self, container_id: str) -> bool:
        """Whether a start of ours of that id is under way."""
        return self._plans.has(container_id)

    # What we do.

    def claim_start(self, container_id: str) -> PendingStart:
        """A start of ours begins; it is over with `withdraw_start`, or, once `plan_start` was called, with its answer."""
        self.release_hold(container_id)
        start = self._plans.claim(container_id)
        self._emit(events.PlansChanged(container_id))
        return start

    def withdraw_start(self, container_id: str, start: PendingStart) -> None:
        """That start is over, unless it has gone out: then its answer ends it, or has done so."""
        if self._plans.withdraw(container_id, start):
            self._emit(events.PlansChanged(container_id))

    def plan_start(self, container_id: str, plan: Plan) -> None:
        """A start of ours goes out; a `StartAnswered` ends it."""
        self.release_hold(container_id)
        self._plans.send(container_id, plan)
        self._emit(events.PlansChanged(container_id))

    def plans(self) -> dict[tuple[str, int], Plan]:
        """What is known of containers, by (id, descriptor), and of starts under way, by (id, 0)."""
        known = {(c.id, c.descriptor): c.plan for c in self._picture if c.plan is not UNKNOWN_PLAN}
        return known | {(container_id, 0): plan for container_id, plan in self._plans.sent().items()}

    def recall(self, plans: dict[tuple[str, int], Plan]) -> None:
        """What was known of this life's containers, by (id, descriptor), before we were restarted."""
        self._plans.recalled = plans

    def release_hold(self, text: str) -> None:
        """Somebody has to know how that container (an id, or a descriptor) ended: hold nothing back of it."""
        held = self._picture.find(text)
        if held is not None:
            self._picture.release_hold(held)

    def begin_stop(self, container: Container, by: Caller) -> StopRequest:
        """A stop of ours goes out; to be ended by `end_stop`."""
        return self._picture.begin_stop(container, by)

    def end_stop(self, container: Container, request: StopRequest, *, withdrawn: bool) -> None:
        """A stop of ours is over. `withdrawn`: it has no part in an end to come, since it was refused or never sent."""
        self._picture.end_stop(container, request, withdrawn=withdrawn)

    # What is seen.

    def observe(self, seen: obs.Observation) -> None:
        """Take in one observation. What comes from an older life is dropped."""
        if seen.life != self.life and not isinstance(seen, obs.DobbyAppeared):
            return
        self._order.position += 1
        self._rules[type(seen)](seen)

    def _dobby_appeared(self, seen: obs.DobbyAppeared) -> None:
        if self.life is not None:
            self._forget_all()
        self.life = seen.life
        self._set_status(DobbyStatus.STARTING)

    def _picture_taken(self, _: obs.PictureTaken) -> None:
        for container in self.listing():
            self._picture.announce(container)
        self._plans.recalled = {}  # it has served: whatever comes from now on is new
        self._set_status(DobbyStatus.READY)

    def _started(self, seen: obs.Started) -> None:
        self._touch(seen.id)
        known = self._known(seen.id, seen.descriptor)
        if known is None:
            self._add(seen.id, seen.descriptor, self._plans.of(seen.id, seen.descriptor, just_started=True))
        else:
            known.restarted_at = self._now()
            self._report(known, SubState.RUNNING)

    def _end_status(self, seen: obs.EndStatus) -> None:
        known = self._known(seen.id, seen.descriptor)
        if known is None:
            return
        known.wait_status, known.held_at = seen.wait_status, None
        # systemd kills the containers of a Dobby that it stops before Dobby itself is gone.
        if is_by_stop_signal(seen.wait_status) and not known.stops:
            known.held_at = self.position
            self._emit(events.EndHeld(known.id, known.descriptor, self.position))

    def _stopped(self, seen: obs.Stopped) -> None:
        self._touch(seen.id)
        known = self._known(seen.id, seen.descriptor)
        if known is None:
            return
        if known.plan.origin == "bundle":
            self._picture.conclude(known, None)
        else:
            known.doubted_at = self.position
            self._emit(events.EndDoubted(known.id, known.descriptor, self.position, unannounced=False))

    def _state_signalled(self, seen: obs.StateSignal) -> None:
        known = self._known(seen.id, seen.descriptor)
        if known is not None:
            self._touch(seen.id)
            if seen.substate is SubState.HIBERNATED:
                known.hibernated_at = self.position
            else:
                known.awoken_at = self.position
            self._report(known, seen.substate)

    def _listed(self, seen: obs.Listed) -> None:
        present = {container_id: descriptor for descriptor, container_id in seen.entries if descriptor > 0}
        for container_id, descriptor in present.items():
            self._take_listed(container_id, descriptor, seen.asked)
        for absent in [c for c in self._picture if c.id not in present]:
            self._take_unlisted(absent, seen.asked)

    def _state_seen(self, seen: obs.StateSeen) -> None:
        known = self._picture.of_descriptor(seen.descriptor)
        if known is None or known.ended or not self._order.is_fresh(known.id, seen.asked):
            return
        if seen.substate is SubState.INVALID:
            if known.reported is not SubState.INVALID:
                known.invalid_at = self.position  # an end in progress, unless a List asked after this still has it
        else:
            self._report(known, seen.substate)

    def _start_answered(self, seen: obs.StartAnswered) -> None:
        plan = self._plans.answered(seen.id)
        known = self._picture.of_id(seen.id)
        if known is not None and not known.ended:
            # Somebody else's start of the same id was the one that succeeded: then our plan says nothing of it.
            if known.plan is plan and known.descriptor != seen.descriptor:
                self._picture.correct(known, UNKNOWN_PLAN)
            elif known.descriptor == seen.descriptor:
                self._picture.correct(known, plan)
        elif seen.descriptor > 0 and self._order.is_fresh(seen.id, seen.asked):
            self._touch(seen.id)
            self._add(seen.id, seen.descriptor, plan)
        self._emit(events.PlansChanged(seen.id))

    def _end_believed(self, seen: obs.EndBelieved) -> None:
        known = self._known(seen.id, seen.descriptor)
        if known is not None and (known.missing or known.doubted_at == seen.at):
            self._picture.conclude(known, Reason.LOST)

    def _hold_over(self, seen: obs.HoldOver) -> None:
        known = self._picture.of_id(seen.id)
        if known is not None and known.descriptor == seen.descriptor and known.held_at == seen.at:
            self._picture.release_hold(known)

    # The steps that these are made of.

    def _take_listed(self, container_id: str, descriptor: int, asked: int) -> None:
        known = self._known(container_id, descriptor)
        if known is not None:
            self._take_present(known, asked)
        elif self._order.is_fresh(container_id, asked):
            self._picture.add(Container(container_id, descriptor, self._plans.of(container_id, descriptor, just_started=False)))
            if self.status is not DobbyStatus.STARTING:
                self._emit(events.ContainerFound(container_id, descriptor))

    def _take_present(self, container: Container, asked: int) -> None:
        container.missing = False
        if container.doubted_at is not None and asked >= container.doubted_at:
            self._picture.restart(container)
        if container.invalid_at is not None and asked >= container.invalid_at:
            self._report(container, SubState.INVALID)

    def _take_unlisted(self, container: Container, asked: int) -> None:
        if container.ended or not self._order.is_fresh(container.id, asked):
            return
        if container.doubted_at is not None:
            self._picture.conclude(container, None)
        else:
            container.missing = True
            self._emit(events.EndDoubted(container.id, container.descriptor, self.position, unannounced=True))

    def _known(self, container_id: str, descriptor: int) -> Container | None:
        """None also for one that has ended: what is seen now is of another container, whose adding announces that end."""
        known = self._picture.of_id(container_id)
        return known if known is not None and known.descriptor == descriptor and not known.ended else None

    def _touch(self, container_id: str) -> None:
        self._order.touch(container_id, len(self._picture))

    def _add(self, container_id: str, descriptor: int, plan: Plan) -> None:
        """It has started just now."""
        container = Container(container_id, descriptor, plan, started_at=(now := self._now()), changed_at=now)
        self._picture.add(container)
        self._report(container, SubState.RUNNING)

    def _report(self, container: Container, substate: SubState) -> None:
        """It is there, and its state is known: it can be announced, unless as a part of Dobby's first picture."""
        container.missing = False
        self._picture.report(container, substate)
        if self.status is not DobbyStatus.STARTING:
            self._picture.announce(container)

    def _forget_all(self) -> None:
        self.life = None
        self._plans.clear()
        self._order.forget()
        self._set_status(DobbyStatus.ABSENT)
        for container in self._picture:
            self._picture.end(container, Reason.DOBBY_GONE)

    def _set_status(self, status: DobbyStatus) -> None:
        if status is not self.status:
            self.status = status
            self._emit(events.StatusChanged(status))
