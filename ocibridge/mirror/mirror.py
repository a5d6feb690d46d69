"""The mirror: observations of Dobby in, events out (design 6).

It knows no bus and has no clock of its own: time is the order of the observations, counted by `position`. Whoever asks
Dobby notes the position when the question goes out; the answer leaves alone whatever has been touched since, because a
List that overtook a signal must neither bring back the dead nor lose the living.
"""

from collections.abc import Callable
from typing import Any, Final

from ocibridge.mirror import events, observations
from ocibridge.mirror.pending_starts import PendingStart, PendingStarts
from ocibridge.mirror.registry import ContainerRegistry
from ocibridge.model import (
    UNKNOWN_PROVENANCE,
    Caller,
    Container,
    DobbyStatus,
    Provenance,
    Reason,
    StopRequest,
    SubState,
    is_by_stop_signal,
)

# How many ids that came and went are remembered, so that an answer older than their end does not bring them back.
MAX_REMEMBERED: Final = 1024


class Freshness:
    """Counts the observations of Dobby, and remembers at which one each id was last touched by a signal."""

    def __init__(self) -> None:
        self.position = 0
        self._touched: dict[str, int] = {}

    def touch(self, container_id: str, living: int) -> None:
        """The present observation says something of it; `living` containers are remembered beyond the bound."""
        self._touched.pop(container_id, None)
        self._touched[container_id] = self.position
        while len(self._touched) > MAX_REMEMBERED + living:
            self._touched.pop(next(iter(self._touched)))

    def is_fresh(self, container_id: str, as_of: int) -> bool:
        """Whether nothing has been said of it since that position, so that an answer asked for then counts."""
        return self._touched.get(container_id, 0) <= as_of

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
        self.owner: str | None = None
        self._registry = ContainerRegistry(emit, now)
        self._pending_starts = PendingStarts()
        self._freshness = Freshness()
        self._rules: dict[type[observations.Observation], Callable[[Any], None]] = {
            observations.DobbyAppeared: self._dobby_appeared,
            observations.DobbyLost: lambda _: self._forget_all(),
            observations.StatusSeen: lambda seen: self._set_status(seen.status),
            observations.SnapshotTaken: self._snapshot_taken,
            observations.Started: self._started,
            observations.EndStatus: self._end_status,
            observations.Stopped: self._stopped,
            observations.StateSignal: self._state_signalled,
            observations.Listed: self._listed,
            observations.StateSeen: self._state_seen,
            observations.StartAnswered: self._start_answered,
            observations.EndConfirmed: self._end_confirmed,
            observations.HoldOver: self._hold_over,
        }
        self.status = DobbyStatus.ABSENT

    @property
    def position(self) -> int:
        """How many observations there have been; a question notes it when it goes out."""
        return self._freshness.position

    # What is there.

    @property
    def count(self) -> int:
        """How many containers have been announced and have not ended."""
        return self._registry.count

    def listing(self) -> list[Container]:
        """The containers of Dobby's last List and of all signals since, by id."""
        return [c for c in self._registry if not (c.missing or c.ended)]

    def find(self, text: str) -> Container | None:
        """The container of that id, or of that descriptor in its exact decimal text."""
        found = self._registry.find(text)
        return None if found is None or found.missing or found.ended else found

    def is_known(self, text: str) -> bool:
        """Whether it has not ended as far as events tell, also where no List has it any more."""
        return self._registry.find(text) is not None

    def is_starting(self, container_id: str) -> bool:
        """Whether a start of ours of that id is under way."""
        return self._pending_starts.has(container_id)

    # What we do.

    def claim_start(self, container_id: str) -> PendingStart:
        """A start of ours begins; it is over with `withdraw_start`, or, once `plan_start` was called, with its answer."""
        self.release_hold(container_id)
        start = self._pending_starts.claim(container_id)
        self._emit(events.PendingStartsChanged(container_id))
        return start

    def withdraw_start(self, container_id: str, start: PendingStart) -> None:
        """That start is over, unless it has gone out: then its answer ends it, or has done so."""
        if self._pending_starts.withdraw(container_id, start):
            self._emit(events.PendingStartsChanged(container_id))

    def send_start(self, container_id: str, plan: Provenance) -> None:
        """A start of ours goes out; a `StartAnswered` ends it."""
        self.release_hold(container_id)
        self._pending_starts.send(container_id, plan)
        self._emit(events.PendingStartsChanged(container_id))

    def plans(self) -> dict[tuple[str, int], Provenance]:
        """What is known of containers, by (id, descriptor), and of starts under way, by (id, 0)."""
        known = {
            (c.id, c.descriptor): c.plan for c in self._registry if c.plan is not UNKNOWN_PROVENANCE
        }
        return known | {
            (container_id, 0): plan for container_id, plan in self._pending_starts.sent().items()
        }

    def recall(self, plans: dict[tuple[str, int], Provenance]) -> None:
        """What was known of this life's containers, by (id, descriptor), before we were restarted."""
        self._pending_starts.recalled = plans

    def release_hold(self, text: str) -> None:
        """Somebody has to know how that container (an id, or a descriptor) ended: hold nothing back of it."""
        held = self._registry.find(text)
        if held is not None:
            self._registry.release_hold(held)

    def begin_stop(self, container: Container, by: Caller) -> StopRequest:
        """A stop of ours goes out; to be ended by `end_stop`."""
        return self._registry.begin_stop(container, by)

    def end_stop(self, container: Container, request: StopRequest, *, withdrawn: bool) -> None:
        """A stop of ours is over. `withdrawn`: it has no part in an end to come, since it was refused or never sent."""
        self._registry.end_stop(container, request, withdrawn=withdrawn)

    # What is seen.

    def observe(self, seen: observations.Observation) -> None:
        """Take in one observation. What comes from an older life is dropped."""
        if seen.owner != self.owner and not isinstance(seen, observations.DobbyAppeared):
            return
        self._freshness.position += 1
        self._rules[type(seen)](seen)

    def _dobby_appeared(self, seen: observations.DobbyAppeared) -> None:
        if self.owner is not None:
            self._forget_all()
        self.owner = seen.owner
        self._set_status(DobbyStatus.STARTING)

    def _snapshot_taken(self, _: observations.SnapshotTaken) -> None:
        for container in self.listing():
            self._registry.announce(container)
        self._pending_starts.recalled = {}  # it has served: whatever comes from now on is new
        self._set_status(DobbyStatus.READY)

    def _started(self, seen: observations.Started) -> None:
        self._touch(seen.id)
        known = self._known(seen.id, seen.descriptor)
        if known is None:
            self._add(
                seen.id,
                seen.descriptor,
                self._pending_starts.of(seen.id, seen.descriptor, just_started=True),
            )
        else:
            known.restarted_at = self._now()
            self._report(known, SubState.RUNNING)

    def _end_status(self, seen: observations.EndStatus) -> None:
        known = self._known(seen.id, seen.descriptor)
        if known is None:
            return
        known.wait_status, known.held_at = seen.wait_status, None
        # systemd kills the containers of a Dobby that it stops before Dobby itself is gone.
        if is_by_stop_signal(seen.wait_status) and not known.stops:
            known.held_at = self.position
            self._emit(events.EndHeld(known.id, known.descriptor, self.position))

    def _stopped(self, seen: observations.Stopped) -> None:
        self._touch(seen.id)
        known = self._known(seen.id, seen.descriptor)
        if known is None:
            return
        if known.plan.origin == "bundle":
            self._registry.conclude(known, None)
        else:
            known.unconfirmed_at = self.position
            self._emit(
                events.EndUnconfirmed(known.id, known.descriptor, self.position, unannounced=False)
            )

    def _state_signalled(self, seen: observations.StateSignal) -> None:
        known = self._known(seen.id, seen.descriptor)
        if known is not None:
            self._touch(seen.id)
            if seen.substate is SubState.HIBERNATED:
                known.hibernated_at = self.position
            else:
                known.awoken_at = self.position
            self._report(known, seen.substate)

    def _listed(self, seen: observations.Listed) -> None:
        present = {
            container_id: descriptor for descriptor, container_id in seen.entries if descriptor > 0
        }
        for container_id, descriptor in present.items():
            self._take_listed(container_id, descriptor, seen.as_of)
        for absent in [c for c in self._registry if c.id not in present]:
            self._take_unlisted(absent, seen.as_of)

    def _state_seen(self, seen: observations.StateSeen) -> None:
        known = self._registry.of_descriptor(seen.descriptor)
        if known is None or known.ended or not self._freshness.is_fresh(known.id, seen.as_of):
            return
        if seen.substate is SubState.INVALID:
            if known.reported is not SubState.INVALID:
                known.invalid_at = (
                    self.position
                )  # an end in progress, unless a List asked after this still has it
        else:
            self._report(known, seen.substate)

    def _start_answered(self, seen: observations.StartAnswered) -> None:
        plan = self._pending_starts.answered(seen.id)
        known = self._registry.of_id(seen.id)
        if known is not None and not known.ended:
            # Somebody else's start of the same id was the one that succeeded: then our plan says nothing of it.
            if known.plan is plan and known.descriptor != seen.descriptor:
                self._registry.correct(known, UNKNOWN_PROVENANCE)
            elif known.descriptor == seen.descriptor:
                self._registry.correct(known, plan)
        elif seen.descriptor > 0 and self._freshness.is_fresh(seen.id, seen.as_of):
            self._touch(seen.id)
            self._add(seen.id, seen.descriptor, plan)
        self._emit(events.PendingStartsChanged(seen.id))

    def _end_confirmed(self, seen: observations.EndConfirmed) -> None:
        known = self._known(seen.id, seen.descriptor)
        if known is not None and (known.missing or known.unconfirmed_at == seen.at):
            self._registry.conclude(known, Reason.LOST)

    def _hold_over(self, seen: observations.HoldOver) -> None:
        known = self._registry.of_id(seen.id)
        if known is not None and known.descriptor == seen.descriptor and known.held_at == seen.at:
            self._registry.release_hold(known)

    # The steps that these are made of.

    def _take_listed(self, container_id: str, descriptor: int, as_of: int) -> None:
        known = self._known(container_id, descriptor)
        if known is not None:
            self._take_present(known, as_of)
        elif self._freshness.is_fresh(container_id, as_of):
            self._registry.add(
                Container(
                    container_id,
                    descriptor,
                    self._pending_starts.of(container_id, descriptor, just_started=False),
                )
            )
            if self.status is not DobbyStatus.STARTING:
                self._emit(events.ContainerFound(container_id, descriptor))

    def _take_present(self, container: Container, as_of: int) -> None:
        container.missing = False
        if container.unconfirmed_at is not None and as_of >= container.unconfirmed_at:
            self._registry.restart(container)
        if container.invalid_at is not None and as_of >= container.invalid_at:
            self._report(container, SubState.INVALID)

    def _take_unlisted(self, container: Container, as_of: int) -> None:
        if container.ended or not self._freshness.is_fresh(container.id, as_of):
            return
        if container.unconfirmed_at is not None:
            self._registry.conclude(container, None)
        else:
            container.missing = True
            self._emit(
                events.EndUnconfirmed(
                    container.id, container.descriptor, self.position, unannounced=True
                )
            )

    def _known(self, container_id: str, descriptor: int) -> Container | None:
        """None also for one that has ended: what is seen now is of another container, whose adding announces that end."""
        known = self._registry.of_id(container_id)
        return (
            known
            if known is not None and known.descriptor == descriptor and not known.ended
            else None
        )

    def _touch(self, container_id: str) -> None:
        self._freshness.touch(container_id, len(self._registry))

    def _add(self, container_id: str, descriptor: int, plan: Provenance) -> None:
        """It has started just now."""
        container = Container(
            container_id, descriptor, plan, started_at=(now := self._now()), changed_at=now
        )
        self._registry.add(container)
        self._report(container, SubState.RUNNING)

    def _report(self, container: Container, substate: SubState) -> None:
        """It is there, and its state is known: it can be announced, unless as a part of Dobby's first picture."""
        container.missing = False
        self._registry.report(container, substate)
        if self.status is not DobbyStatus.STARTING:
            self._registry.announce(container)

    def _forget_all(self) -> None:
        self.owner = None
        self._pending_starts.clear()
        self._freshness.forget()
        self._set_status(DobbyStatus.ABSENT)
        for container in self._registry:
            self._registry.end(container, Reason.DOBBY_GONE)

    def _set_status(self, status: DobbyStatus) -> None:
        if status is not self.status:
            self.status = status
            self._emit(events.StatusChanged(status))
