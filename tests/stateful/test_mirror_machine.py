"""A random machine plays Dobby (design 6): after every step the mirror is what the plain model says, and what we announce is it.

`OCIBRIDGE_SOAK_SECONDS` makes it run for that long (`make soak`).
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


class Machine(World):
    """Our side: what arrives, what we ask, and what must hold."""

    def __init__(self) -> None:
        super().__init__()
        clock = itertools.count(1000)
        self.doubts: list[tuple[events.EndUnconfirmed, int]] = []
        self.holds: list[tuple[str, events.EndHeld, int]] = []
        self.fresh: list[Any] = []
        self.stops: list[tuple[Container, StopRequest, Any]] = []
        self.ends: list[tuple[Any, ...]] = []
        self.picture_left = -1
        self.observer = Observer()
        self.bus = FakeBus(self.observer)
        self.mirror = Mirror(self.on_event, lambda: next(clock))
        containers = ContainerObjects(cast("Bus", self.bus), cast("Dispatcher", self.bus), ())
        self.announcer = Announcer(cast("Bus", self.bus), self.mirror, containers, lambda *_: None)
        self.model = PlainModel()

    # What the daemon does with events.

    def on_event(self, event: events.Event) -> None:
        self.announcer.on_event(event)
        match event:
            case events.ContainerEnded():
                e = event.exit
                who = e.requested_by.sender if e.requested_by else None
                self.ends.append(
                    (event.id, event.descriptor, e.reason, e.wait_status, who, e.failure_code)
                )
            case events.EndUnconfirmed() | events.EndHeld() | events.ContainerFound():
                self.fresh.append(event)
            case _:
                pass

    def see(self, kind: type[Any], *rest: Any) -> None:
        self.mirror.observe(kind(self.mirror.owner, *rest))

    def look_into(self) -> None:
        """What the events of one message ask for, once the model has taken it in as well."""
        for event in self.fresh:
            if isinstance(event, events.EndUnconfirmed):
                thing = self.model.thing(event.id, event.descriptor)
                self.doubts.append(
                    (event, 0 if event.unannounced or thing is None else thing.doubt)
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

    # Dobby lives.

    @initialize(there=st.booleans(), quickly=st.sampled_from([True, True, True, False]))
    def begins(self, there: bool, quickly: bool) -> None:
        if there or quickly:  # most of what can go wrong needs a Dobby that is ready
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

    # We ask.

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
        """Refused or never sent, or its time is over; where the container has ended this changes nothing."""
        container, request, mine = self.stops.pop(0)
        self.mirror.end_stop(container, request, withdrawn=refused)
        mine[1] = False
        for thing in self.model.things.values():
            if refused:
                thing.stops = [stop for stop in thing.stops if stop is not mine]

    @precondition(lambda self: self.model.status == "ready")
    @rule(status=st.sampled_from([DobbyStatus.DEAF, DobbyStatus.STALLED]))
    def is_disturbed(self, status: DobbyStatus) -> None:
        self.see(observations.StatusSeen, status)
        self.model.status = status.value

    @precondition(
        lambda self: self.owner and self.owner == self.mirror.owner and self.model.status != "ready"
    )
    @rule()
    def we_look_at_all(self) -> None:
        self.picture_left = -1
        for question in [*self.queue, *(m[1] for m in self.wire if m[0] == "reply")]:
            question.for_picture = False
        self.ask("List", for_picture=True)

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
                    self.ask("List", for_picture=True)
            case ("Lost",):
                self.see(observations.DobbyLost)
                self.model.lost()
                self.picture_left = -1
            case ("Started", number, name):
                self.see(observations.Started, number, name)
                self.model.started(number, name)
            case ("EndStatus", number, name, status):
                self.see(observations.EndStatus, number, name, status)
                self.model.status_told(number, name, status)
            case ("Stopped", number, name):
                self.see(observations.Stopped, number, name)
                self.model.stopped(number, name)
            case ("StateSignal", number, name, word):
                self.see(observations.StateSignal, number, name, SubState(word))
                self.model.state_signalled(number, name, word)
            case ("reply", question, answer):
                self.answered(question, answer)
        self.look_into()

    def answered(self, question: Question, answer: Any) -> None:
        if question not in self.model.open:
            return  # of a life that has ended
        self.model.open.remove(question)
        match question.kind:
            case "List":
                self.see(observations.Listed, question.asked, tuple(answer))
                self.model.listed(question, answer)
            case "GetState":
                self.see(observations.StateSeen, question.asked, question.about, SubState(answer))
                self.model.state_seen(question, question.about, answer)
            case "Start":
                self.see(observations.StartAnswered, question.asked, question.about, answer)
                self.model.start_answered(question, question.about, answer)
            case _:
                pass
        if question.settles is not None:
            self.believe(*question.settles)
        if question.for_picture:
            self.pictured(question)

    def pictured(self, question: Question) -> None:
        if question.kind == "List":
            self.picture_left = len(self.mirror.listing())
            for container in self.mirror.listing():
                self.ask("GetState", container.descriptor, for_picture=True)
        else:
            self.picture_left -= 1
        if self.picture_left == 0:
            self.see(observations.SnapshotTaken)
            self.model.pictured()

    # Doubts.

    @precondition(
        lambda self: (
            self.doubts and self.model.status == "ready" and self.owner == self.mirror.owner
        )
    )
    @rule()
    def a_doubt_is_looked_into(self) -> None:
        doubt = self.doubts.pop(0)
        if doubt[0].unannounced:
            self.says_what_has_ended()  # the grace
        self.ask("List", settles=doubt)

    @precondition(lambda self: self.doubts)
    @rule()
    def no_list_settles_a_doubt(self) -> None:
        doubt = self.doubts.pop(0)
        if not doubt[0].unannounced:
            self.believe(*doubt)

    def believe(self, event: events.EndUnconfirmed, doubt: int) -> None:
        if self.mirror.owner is not None:
            self.see(observations.EndConfirmed, event.id, event.descriptor, event.at)
            self.model.believed(event.id, event.descriptor, doubt)

    # Ends that are held back.

    @precondition(lambda self: self.holds)
    @rule()
    def a_hold_is_over(self) -> None:
        owner, event, holding = self.holds.pop(0)
        self.mirror.observe(observations.HoldOver(owner, event.id, event.descriptor, event.at))
        if owner == self.mirror.owner:
            self.model.hold_over(event.id, holding)

    @rule(name=IDS)
    def somebody_has_to_know(self, name: str) -> None:
        self.mirror.release_hold(name)
        self.model.release(name)

    # What must hold.

    @invariant()
    def mirror_and_model_agree(self) -> None:
        shown = [
            (
                c.id,
                c.descriptor,
                c.substate,
                (c.provenance.origin, c.provenance.bundle_path),
                c.started_at > 0,
            )
            for c in self.mirror.listing()
        ]
        assert shown == self.model.listing()
        assert (self.mirror.status.value, self.mirror.count) == (
            self.model.status,
            self.model.count(),
        )
        assert self.ends == self.model.ends

    @invariant()
    def what_was_announced_is_what_is_there(self) -> None:
        assert self.observer.complaints == []
        assert self.observer.objects == self.bus.managed_objects()
        assert self.observer.ended == len(self.ends)

    def teardown(self) -> None:
        """When all has been said, and all doubts are settled, a sweep makes the mirror Dobby's truth."""
        if not self.owner:
            self.returns(there=False, quickly=False)
        self.settle()
        if self.model.status != "ready":
            self.we_look_at_all()
            self.settle()
        for _ in range(3):  # a doubt may come of the first sweep, and Invalid needs a second List
            self.we_sweep()
            self.settle()
        self.mirror_and_model_agree()
        self.what_was_announced_is_what_is_there()
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
            or (self.doubts and self.model.status == "ready")
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
                self.a_doubt_is_looked_into()
            self.says_what_has_ended()


SLOW = [
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
]  # machines are small and noisy
PROFILE = settings(
    max_examples=500, stateful_step_count=60, deadline=None, suppress_health_check=SLOW
)


@pytest.mark.timeout(300)  # a failure is made small before it is shown
def test_the_mirror_tells_the_truth() -> None:
    run_state_machine_as_test(Machine, settings=PROFILE)


SOAK_SECONDS = float(os.environ.get("OCIBRIDGE_SOAK_SECONDS", "0"))


@pytest.mark.skipif(not SOAK_SECONDS, reason="for long runs: make soak")
@pytest.mark.timeout(SOAK_SECONDS + 600)
def test_the_mirror_tells_the_truth_for_long() -> None:
    until = time.monotonic() + SOAK_SECONDS
    while time.monotonic() < until:
        run_state_machine_as_test(
            Machine, settings=settings(PROFILE, max_examples=500, stateful_step_count=120)
        )
