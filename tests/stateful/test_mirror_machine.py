# SPDX-License-Identifier: Apache-2.0
"""Hypothesis plays Dobby and its clients at random (docs/design.md, The mirror).

After every step the mirror must equal the plain model, and what we announce must equal the mirror.
`OCIBRIDGE_SOAK_SECONDS` sets for how long it runs (`make soak`).
"""

import itertools
import os
import time
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from ocibridge.api.announcer import Announcer
from ocibridge.api.container_objects import ContainerObjects
from ocibridge.api.dispatcher import Dispatcher
from ocibridge.bus.connection import Bus
from ocibridge.mirror import events, observations
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import (
    Caller,
    Container,
    DobbyStatus,
    Origin,
    Provenance,
    StopRequest,
    SubState,
)
from tests.fake_dobby.observer import Observer
from tests.stateful.fake_bus import FakeBus
from tests.stateful.plain_model import PlainModel, Question
from tests.stateful.world import IDS, World


class MirrorMachine(World):
    """Our side: what arrives, what we send, and the invariants."""

    def __init__(self) -> None:
        super().__init__()
        clock = itertools.count(1000)
        self.unconfirmed: list[tuple[events.EndUnconfirmed, int]] = []
        self.holds: list[tuple[str, events.EndHeld, int]] = []
        self.fresh: list[Any] = []
        self.stops: list[tuple[Container, StopRequest, Any]] = []
        self.ends: list[tuple[Any, ...]] = []
        self.unannounced_ends: list[tuple[str, int]] = []
        self.snapshot_left = -1
        self.observer = Observer()
        self.bus = FakeBus(self.observer)
        self.mirror = Mirror(self.on_event, lambda: next(clock))
        containers = ContainerObjects(cast("Bus", self.bus), cast("Dispatcher", self.bus), ())
        self.announcer = Announcer(cast("Bus", self.bus), self.mirror, containers, lambda *_: None)
        self.model = PlainModel()

    # What the event router does with events.

    def on_event(self, event: events.Event) -> None:
        self.announcer.on_event(event)
        match event:
            case events.ContainerEnded():
                e = event.exit
                who = e.requested_by.sender if e.requested_by else None
                self.ends.append(
                    (event.id, event.descriptor, e.reason, e.wait_status, who, e.failure_code)
                )
            case events.UnannouncedEnd():
                self.unannounced_ends.append((event.id, event.descriptor))
            case events.EndUnconfirmed() | events.EndHeld() | events.ContainerFound():
                self.fresh.append(event)
            case _:
                pass

    def see(self, kind: type[Any], *rest: Any) -> None:
        self.mirror.observe(kind(self.mirror.owner, *rest))

    def act_on_events(self) -> None:
        """Act on the events of one message, once the model has processed it too."""
        for event in self.fresh:
            if isinstance(event, events.EndUnconfirmed):
                thing = self.model.thing(event.id, event.descriptor)
                self.unconfirmed.append(
                    (event, 0 if event.unannounced or thing is None else thing.unconfirmed)
                )
            elif isinstance(event, events.EndHeld):
                self.holds.append(
                    (self.mirror.owner or "", event, self.model.things[event.id].held)
                )
            elif self.model.status == "ready":
                self.ask("GetState", event.descriptor)
        self.fresh.clear()

    def ask(self, kind: str, about: Any = None, **more: Any) -> None:
        question = Question(kind, about, self.mirror.position, **more)
        self.model.ask(question)
        self.queue.append(question)

    # Dobby's side begins.

    @initialize(there=st.booleans(), quickly=st.sampled_from([True, True, True, False]))
    def begins(self, there: bool, quickly: bool) -> None:
        if there or quickly:  # most faults need a Dobby that is ready
            self.returns(there=there, quickly=quickly)

    def catch_up(self) -> None:
        while self.wire or self.queue:
            if self.wire:
                self.arrives()
            else:
                self.works(fails=False, count=1)

    @rule(name=IDS, number=st.integers(1, 5))
    def somebody_forges(self, name: str, number: int) -> None:
        for kind in (observations.Started, observations.Stopped):
            self.mirror.observe(kind(":1.666", number, name))
        self.mirror.observe(observations.DobbyLost(":1.666"))

    # Our queries and calls.

    @precondition(lambda self: self.model.status == "ready")
    @rule(name=IDS, origin=st.sampled_from([Origin.BUNDLE, Origin.SPEC]))
    def we_start(self, name: str, origin: Origin) -> None:
        if self.owner == self.mirror.owner and not self.mirror.is_starting(name):
            path = f"/{next(self.numbers)}"
            self.mirror.send_start(name, Provenance(origin, path))
            self.model.release(name)
            self.model.starting[name] = (origin.value, path)
            self.ask("Start", name, restarts=origin is Origin.SPEC)

    @precondition(lambda self: self.owner and self.model.status == "ready")
    @rule()
    def we_sweep(self) -> None:
        self.ask("List")
        for container in self.mirror.listing():
            self.ask("GetState", container.descriptor)

    @precondition(lambda self: self.model.status == "ready")
    @rule(name=IDS, caller=st.sampled_from([":1.5", ":1.6"]))
    def we_stop(self, name: str, caller: str) -> None:
        container = self.mirror.find(name)
        if container is not None:
            request = self.mirror.begin_stop(container, Caller(caller))
            thing = self.model.things[name]
            mine = [caller, True]
            thing.stops.append(mine)
            thing.held = 0
            self.stops.append((container, request, mine))
            if self.owner == self.mirror.owner:
                self.ask("Stop", name)

    @precondition(lambda self: self.stops)
    @rule(refused=st.booleans())
    def a_stop_is_over(self, refused: bool) -> None:
        """It was refused, never sent, or timed out.

        If the container has ended, this changes nothing.
        """
        container, request, mine = self.stops.pop(0)
        self.mirror.end_stop(container, request, withdrawn=refused)
        mine[1] = False
        for thing in self.model.things.values():
            if refused:
                thing.stops = [stop for stop in thing.stops if stop is not mine]

    @precondition(lambda self: self.model.status == "ready")
    @rule(status=st.sampled_from([DobbyStatus.DEAF, DobbyStatus.STALLED]))
    def is_unhealthy(self, status: DobbyStatus) -> None:
        self.see(observations.StatusSeen, status)
        self.model.status = status.value

    @precondition(
        lambda self: self.owner and self.owner == self.mirror.owner and self.model.status != "ready"
    )
    @rule()
    def we_take_a_snapshot(self) -> None:
        self.snapshot_left = -1
        for question in [*self.queue, *(m[1] for m in self.wire if m[0] == "reply")]:
            question.for_snapshot = False
        self.ask("List", for_snapshot=True)

    # The wire.

    @precondition(lambda self: self.wire)
    @rule(count=st.integers(1, 8))
    def arrive(self, count: int) -> None:
        for _ in range(min(count, len(self.wire))):
            self.arrives()

    def arrives(self) -> None:
        match self.wire.popleft():
            case ("Appeared", owner):
                self.mirror.observe(observations.DobbyAppeared(owner))
                self.model.status = "starting"
                if owner == self.owner:
                    self.ask("List", for_snapshot=True)
            case ("Lost",):
                self.see(observations.DobbyLost)
                self.model.lost()
                self.snapshot_left = -1
            case ("Started", number, name):
                self.see(observations.Started, number, name)
                self.model.started(number, name)
            case ("EndStatus", number, name, status):
                self.see(observations.EndStatus, number, name, status)
                self.model.status_reported(number, name, status)
            case ("Stopped", number, name):
                self.see(observations.Stopped, number, name)
                self.model.stopped(number, name)
            case ("StateSignal", number, name, word):
                self.see(observations.StateSignal, number, name, SubState(word))
                self.model.state_signalled(number, name, word)
            case ("reply", question, answer):
                self.answered(question, answer)
        self.act_on_events()

    def answered(self, question: Question, answer: Any) -> None:
        if question not in self.model.open:
            return  # of a former owner
        self.model.open.remove(question)
        match question.kind:
            case "List":
                self.see(observations.Listed, question.as_of, tuple(answer))
                self.model.listed(question, answer)
            case "GetState":
                self.see(observations.StateSeen, question.as_of, question.about, SubState(answer))
                self.model.state_seen(question, question.about, answer)
            case "Start":
                self.see(observations.StartAnswered, question.as_of, question.about, answer)
                self.model.start_answered(question, question.about, answer)
            case _:
                pass
        if question.settles is not None:
            self.confirm(*question.settles)
        if question.for_snapshot:
            self.take_snapshot(question)

    def take_snapshot(self, question: Question) -> None:
        if question.kind == "List":
            self.snapshot_left = len(self.mirror.listing())
            for container in self.mirror.listing():
                self.ask("GetState", container.descriptor, for_snapshot=True)
        else:
            self.snapshot_left -= 1
        if self.snapshot_left == 0:
            self.see(observations.SnapshotTaken)
            self.model.snapshot_taken()

    # Unconfirmed ends.

    @precondition(
        lambda self: (
            self.unconfirmed and self.model.status == "ready" and self.owner == self.mirror.owner
        )
    )
    @rule()
    def an_unconfirmed_end_is_checked(self) -> None:
        end = self.unconfirmed.pop(0)
        if end[0].unannounced:
            self.says_what_has_ended()  # the grace period
        self.ask("List", settles=end)

    @precondition(lambda self: self.unconfirmed)
    @rule()
    def no_list_confirms_an_end(self) -> None:
        end = self.unconfirmed.pop(0)
        if not end[0].unannounced:
            self.confirm(*end)

    def confirm(self, event: events.EndUnconfirmed, serial: int) -> None:
        if self.mirror.owner is not None:
            self.see(observations.EndConfirmed, event.id, event.descriptor, event.at)
            self.model.confirmed(event.id, event.descriptor, serial)

    # Ends that are held back.

    @precondition(lambda self: self.holds)
    @rule()
    def a_hold_is_over(self) -> None:
        owner, event, holding = self.holds.pop(0)
        self.mirror.observe(observations.HoldOver(owner, event.id, event.descriptor, event.at))
        if owner == self.mirror.owner:
            self.model.hold_over(event.id, holding)

    @rule(name=IDS)
    def a_caller_needs_to_know(self, name: str) -> None:
        self.mirror.release_hold(name)
        self.model.release(name)

    # Invariants.

    @invariant()
    def mirror_and_model_agree(self) -> None:
        actual = [
            (
                c.id,
                c.descriptor,
                c.substate,
                (c.provenance.origin, c.provenance.bundle_path),
                c.started_at > 0,
            )
            for c in self.mirror.listing()
        ]
        assert actual == self.model.listing()
        assert (self.mirror.status.value, self.mirror.count) == (
            self.model.status,
            self.model.count(),
        )
        assert self.ends == self.model.ends
        assert self.unannounced_ends == self.model.unannounced_ends

    @invariant()
    def announcements_match_the_objects(self) -> None:
        assert self.observer.complaints == []
        assert self.observer.objects == self.bus.managed_objects()
        assert self.observer.ended == len(self.ends)

    def teardown(self) -> None:
        """Once all is delivered and settled, a sweep makes the mirror equal Dobby's state."""
        if not self.owner:
            self.returns(there=False, quickly=False)
        self.settle()
        if self.model.status != "ready":
            self.we_take_a_snapshot()
            self.settle()
        # the first sweep may find an unconfirmed end, and Invalid needs a second List
        for _ in range(3):
            self.we_sweep()
            self.settle()
        self.mirror_and_model_agree()
        self.announcements_match_the_objects()
        truth = {name: (real.number, SubState(real.word).state) for name, real in self.real.items()}
        assert {c.id: (c.descriptor, c.substate.state) for c in self.mirror.listing()} == truth
        assert self.mirror.count == len(truth)

    def settle(self) -> None:
        self.says_what_has_ended()
        while (
            self.wire
            or self.queue
            or self.stops
            or self.holds
            or (self.unconfirmed and self.model.status == "ready")
        ):
            if self.wire:
                self.arrives()
            elif self.queue:
                self.works(fails=False, count=1)
            elif self.holds:
                self.a_hold_is_over()
            elif self.stops:
                self.a_stop_is_over(refused=True)
            else:
                self.an_unconfirmed_end_is_checked()
            self.says_what_has_ended()


SLOW = [
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
]  # machines are small and noisy
PROFILE = settings(
    max_examples=500, stateful_step_count=60, deadline=None, suppress_health_check=SLOW
)


@pytest.mark.timeout(300)  # Hypothesis shrinks a failure before it reports it
def test_the_mirror_tells_the_truth() -> None:
    run_state_machine_as_test(MirrorMachine, settings=PROFILE)


SOAK_SECONDS = float(os.environ.get("OCIBRIDGE_SOAK_SECONDS", "0"))


@pytest.mark.skipif(not SOAK_SECONDS, reason="for long runs: make soak")
@pytest.mark.timeout(SOAK_SECONDS + 600)
def test_the_mirror_tells_the_truth_for_long() -> None:
    until = time.monotonic() + SOAK_SECONDS
    while time.monotonic() < until:
        run_state_machine_as_test(
            MirrorMachine, settings=settings(PROFILE, max_examples=500, stateful_step_count=120)
        )
