# SPDX-License-Identifier: Apache-2.0
"""The mirror: observations of Dobby in, events out (docs/design.md, The mirror).

It knows no bus and has no clock. Its notion of time is its `position`: how many observations it has
made. A question to Dobby notes the position when it is sent. Its answer is ignored for each
container that a signal has concerned since: a List overtaken by a signal must neither restore an
ended container nor drop a running one.
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
    Origin,
    Provenance,
    Reason,
    StopRequest,
    SubState,
)

# How many ids of ended containers are remembered, so that an older answer does not restore them.
MAX_REMEMBERED: Final = 1024


class Freshness:
    """Counts the observations, and remembers which one last concerned each id."""

    def __init__(self) -> None:
        self.position = 0
        self._touched: dict[str, int] = {}

    def touch(self, container_id: str, living: int) -> None:
        """The present observation concerns that id. `living`: how many containers exist."""
        self._touched.pop(container_id, None)
        self._touched[container_id] = self.position
        while len(self._touched) > MAX_REMEMBERED + living:
            self._touched.pop(next(iter(self._touched)))

    def is_fresh(self, container_id: str, as_of: int) -> bool:
        """Whether nothing has concerned that id since position `as_of`: an answer counts then."""
        return self._touched.get(container_id, 0) <= as_of

    def forget(self) -> None:
        """Dobby has gone, and its containers with it."""
        self._touched.clear()


class Mirror:
    """The only copy of Dobby's state. `owner`: Dobby's unique bus name, None while it is absent.

    `emit` is called synchronously with each event, in order. It must not call `observe`.
    `now` returns microseconds since the epoch, for the times of containers and exits.
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
        """How many observations there have been; a question notes it when it is sent."""
        return self._freshness.position

    # Reading.

    @property
    def count(self) -> int:
        """How many containers have been announced and have not ended."""
        return self._registry.count

    def listing(self) -> list[Container]:
        """The containers by id, as of Dobby's last List and all signals since."""
        return [c for c in self._registry if not (c.missing or c.ended)]

    def find(self, text: str) -> Container | None:
        """The container with that id, or with that descriptor in exact decimal text."""
        found = self._registry.find(text)
        return None if found is None or found.missing or found.ended else found

    def is_known(self, text: str) -> bool:
        """Whether its end has not been announced. `find` may already return None for it."""
        return self._registry.find(text) is not None

    def is_starting(self, container_id: str) -> bool:
        """Whether a start of ours for that id is in progress."""
        return self._pending_starts.has(container_id)

    def is_start_sent(self, container_id: str) -> bool:
        """Whether a start of ours for that id has been sent, or is about to be."""
        return self._pending_starts.is_sent(container_id)

    def provenance(self) -> dict[tuple[str, int], Provenance]:
        """What is worth saving: provenance by (id, descriptor), of starts sent by (id, 0)."""
        known = {
            (c.id, c.descriptor): c.provenance
            for c in self._registry
            if c.provenance is not UNKNOWN_PROVENANCE
        }
        sent = self._pending_starts.sent()
        return known | {(container_id, 0): sent[container_id] for container_id in sent}

    # What the bridge does.

    def claim_start(self, container_id: str) -> PendingStart:
        """Begin a start. It ends with `withdraw_start`; after `send_start`, with its answer."""
        self.release_hold(container_id)
        start = self._pending_starts.claim(container_id)
        self._emit(events.PendingStartsChanged(container_id))
        return start

    def withdraw_start(self, container_id: str, start: PendingStart) -> None:
        """End that start, unless it has been sent: then its answer ends it."""
        if self._pending_starts.withdraw(container_id, start):
            self._emit(events.PendingStartsChanged(container_id))

    def send_start(self, container_id: str, provenance: Provenance) -> None:
        """The start is about to be sent; `StartAnswered` ends it."""
        self.release_hold(container_id)
        self._pending_starts.send(container_id, provenance)
        self._emit(events.PendingStartsChanged(container_id))

    def recall(self, provenance: dict[tuple[str, int], Provenance]) -> None:
        """Take over what `provenance()` was before our restart, for the same Dobby process."""
        self._pending_starts.recalled = provenance

    def release_hold(self, text: str) -> None:
        """Announce the end of that container (id or descriptor) now, if it is being held back."""
        held = self._registry.find(text)
        if held is not None:
            self._registry.release_hold(held)

    def begin_stop(self, container: Container, by: Caller) -> StopRequest:
        """A stop is about to be sent; `end_stop` has to follow."""
        return self._registry.begin_stop(container, by)

    def end_stop(self, container: Container, request: StopRequest, *, withdrawn: bool) -> None:
        """A stop is over. `withdrawn`: refused or never sent, so that it explains no later end."""
        self._registry.end_stop(container, request, withdrawn=withdrawn)

    # What Dobby does.

    def observe(self, seen: observations.Observation) -> None:
        """Take in an observation; one of another Dobby process than the present is ignored."""
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
        self._pending_starts.recalled = {}  # containers that come from now on are new
        self._set_status(DobbyStatus.READY)

    def _started(self, seen: observations.Started) -> None:
        self._touch(seen.id)
        known = self._known(seen.id, seen.descriptor)
        if known is None:
            provenance = self._pending_starts.of(seen.id, seen.descriptor, just_started=True)
            self._add(seen.id, seen.descriptor, provenance)
        else:
            self._registry.started_again(known)
            self._report(known, SubState.RUNNING)

    def _end_status(self, seen: observations.EndStatus) -> None:
        known = self._known(seen.id, seen.descriptor)
        if known is not None:
            self._registry.end_status_known(known, seen.wait_status, self.position)

    def _stopped(self, seen: observations.Stopped) -> None:
        self._touch(seen.id)
        known = self._known(seen.id, seen.descriptor)
        if known is None:
            return
        # Only a container from a spec can be restarted by Dobby (docs/dobby.md, restartOnCrash).
        if known.provenance.origin is Origin.BUNDLE:
            self._registry.conclude(known, None)
        else:
            self._registry.stop_unconfirmed(known, self.position)

    def _state_signalled(self, seen: observations.StateSignal) -> None:
        known = self._known(seen.id, seen.descriptor)
        if known is not None:
            self._touch(seen.id)
            self._registry.hibernation_signalled(known, seen.substate, self.position)
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
            self._registry.invalid_seen(known, self.position)
        else:
            self._report(known, seen.substate)

    def _start_answered(self, seen: observations.StartAnswered) -> None:
        provenance = self._pending_starts.answered(seen.id)
        known = self._registry.of_id(seen.id)
        if known is not None and not known.ended:
            # Another client's start of the same id may have succeeded instead of ours.
            if known.provenance is provenance and known.descriptor != seen.descriptor:
                self._registry.correct(known, UNKNOWN_PROVENANCE)
            elif known.descriptor == seen.descriptor:
                self._registry.correct(known, provenance)
        elif seen.descriptor > 0 and self._freshness.is_fresh(seen.id, seen.as_of):
            self._touch(seen.id)
            self._add(seen.id, seen.descriptor, provenance)
        self._emit(events.PendingStartsChanged(seen.id))

    def _end_confirmed(self, seen: observations.EndConfirmed) -> None:
        known = self._known(seen.id, seen.descriptor)
        if known is not None and (known.missing or known.unconfirmed_at == seen.at):
            self._registry.conclude(known, Reason.LOST)

    def _hold_over(self, seen: observations.HoldOver) -> None:
        known = self._registry.of_id(seen.id)
        if known is not None and known.descriptor == seen.descriptor and known.held_at == seen.at:
            self._registry.release_hold(known)

    # Steps of the rules above.

    def _take_listed(self, container_id: str, descriptor: int, as_of: int) -> None:
        known = self._known(container_id, descriptor)
        if known is not None:
            self._take_present(known, as_of)
        elif self._freshness.is_fresh(container_id, as_of):
            provenance = self._pending_starts.of(container_id, descriptor, just_started=False)
            self._registry.add(Container(container_id, descriptor, provenance))
            if self.status is not DobbyStatus.STARTING:
                self._emit(events.ContainerFound(container_id, descriptor))

    def _take_present(self, container: Container, as_of: int) -> None:
        self._registry.listed(container)
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
            self._registry.unlisted(container, self.position)

    def _known(self, container_id: str, descriptor: int) -> Container | None:
        """The container. None also if it has ended: the observation is about a later one then.

        Adding that later one announces the end of this one.
        """
        known = self._registry.of_id(container_id)
        if known is None or known.descriptor != descriptor or known.ended:
            return None
        return known

    def _touch(self, container_id: str) -> None:
        self._freshness.touch(container_id, len(self._registry))

    def _add(self, container_id: str, descriptor: int, provenance: Provenance) -> None:
        """Add a container that has just started."""
        now = self._now()
        container = Container(container_id, descriptor, provenance, started_at=now, changed_at=now)
        self._registry.add(container)
        self._report(container, SubState.RUNNING)

    def _report(self, container: Container, substate: SubState) -> None:
        """Its state is known, so announce it; during the first snapshot, `SnapshotTaken` does."""
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
