"""The first mirror: ids, descriptors, counts, ends, and answers that are true only at their place (design 6)."""

from typing import Any

import pytest

from ocibridge.mirror import Mirror
from ocibridge.model import Container, DobbyStatus, Origin, Plan, SubState
from ocibridge.observations import (
    ContainerEnded,
    ContainerRestarted,
    ContainerStarted,
    DobbyAppeared,
    DobbyLost,
    EndBelieved,
    EndCause,
    EndDoubted,
    Event,
    Listed,
    PictureTaken,
    PlansChanged,
    StartAnswered,
    Started,
    StateSeen,
    StateSignal,
    StatusChanged,
    StatusSeen,
    Stopped,
)

LIFE = ":1.7"
BUNDLE = Plan(Origin.BUNDLE, "/b", plugins=True)


class Seen:
    """A mirror, and the events that came out of it."""

    def __init__(self, *, ready: bool = True) -> None:
        self.events: list[Event] = []
        self.mirror = Mirror(self.events.append)
        if ready:
            self.mirror.observe(DobbyAppeared(LIFE))
            self.mirror.observe(PictureTaken(LIFE))
            self.events.clear()

    def __call__(self, kind: type[Any], *rest: Any) -> list[Event]:
        """Observe; the events of that."""
        before = len(self.events)
        self.mirror.observe(kind(LIFE, *rest))
        return [event for event in self.events[before:] if not isinstance(event, PlansChanged)]

    def run(self, container_id: str, descriptor: int) -> None:
        """A container of ours is there."""
        self.mirror.plan_start(container_id, BUNDLE)
        asked = self.mirror.position
        self(Started, descriptor, container_id)
        self(StartAnswered, asked, container_id, descriptor)


def found(mirror: Mirror, text: str) -> Container:
    container = mirror.find(text)
    assert container is not None
    return container


def test_what_is_there_is_announced_before_dobby_is_available() -> None:
    seen = Seen(ready=False)
    seen(DobbyAppeared)
    seen(Listed, 0, ((91, "b"), (7, "a")))
    assert (seen.mirror.count, [e for e in seen.events if isinstance(e, ContainerStarted)]) == (0, [])
    assert seen(PictureTaken) == [ContainerStarted("a", 7), ContainerStarted("b", 91), StatusChanged(DobbyStatus.READY)]
    assert seen.mirror.count == 2


def test_dobby_lost_voids_everything_in_order() -> None:
    seen = Seen()
    seen.run("b", 91)
    seen.run("a", 7)
    assert seen(DobbyLost) == [
        StatusChanged(DobbyStatus.ABSENT),
        ContainerEnded("a", 7, EndCause.DOBBY_GONE),
        ContainerEnded("b", 91, EndCause.DOBBY_GONE),
    ]
    assert (seen.mirror.count, seen.mirror.listing(), seen.mirror.life) == (0, [], None)


def test_an_older_life_is_dropped() -> None:
    seen = Seen()
    seen.mirror.observe(DobbyAppeared(":1.8"))
    assert seen(Started, 91, "a") == []
    assert seen(PictureTaken) == []
    assert seen.mirror.status is DobbyStatus.STARTING


def test_started_before_its_reply_and_started_once() -> None:
    seen = Seen()
    seen.mirror.plan_start("a", BUNDLE)
    assert seen.mirror.is_starting("a")
    assert seen(Started, 91, "a") == [ContainerStarted("a", 91)]
    assert seen(StartAnswered, 0, "a", 91) == []
    assert not seen.mirror.is_starting("a")
    assert seen(Listed, seen.mirror.position, ((91, "a"),)) == []
    assert found(seen.mirror, "91").plan is BUNDLE


def test_a_reply_without_a_signal_is_enough() -> None:
    seen = Seen()
    seen.mirror.plan_start("a", BUNDLE)
    assert seen(StartAnswered, seen.mirror.position, "a", 91) == [ContainerStarted("a", 91)]


def test_a_reply_after_the_end_does_not_bring_it_back() -> None:
    seen = Seen()
    seen.mirror.plan_start("a", BUNDLE)
    asked = seen.mirror.position
    seen(Started, 91, "a")
    seen(Stopped, 91, "a")
    assert seen(StartAnswered, asked, "a", 91) == []
    assert seen.mirror.find("a") is None


def test_a_list_that_a_signal_overtook_does_not_bring_back_the_dead() -> None:
    seen = Seen()
    seen.run("a", 91)
    asked = seen.mirror.position
    assert seen(Stopped, 91, "a") == [ContainerEnded("a", 91, EndCause.STOPPED)]
    assert seen(Listed, asked, ((91, "a"),)) == []
    assert seen.mirror.find("a") is None


def test_a_list_that_a_signal_overtook_does_not_lose_the_living() -> None:
    seen = Seen()
    asked = seen.mirror.position
    seen.run("a", 91)
    assert seen(Listed, asked, ()) == []
    assert found(seen.mirror, "a").descriptor == 91


def test_somebody_elses_start_of_the_same_id_is_of_unknown_origin() -> None:
    seen = Seen()
    seen.mirror.plan_start("a", BUNDLE)
    asked = seen.mirror.position
    seen(Started, 91, "a")
    seen(StartAnswered, asked, "a", 0)
    assert found(seen.mirror, "a").plan.origin is Origin.UNKNOWN


@pytest.mark.parametrize("plan", [Plan(Origin.SPEC, plugins=True), Plan(Origin.UNKNOWN)])
def test_stopped_of_what_may_restart_is_doubted(plan: Plan) -> None:
    seen = Seen()
    seen.mirror.plan_start("a", plan)
    seen(Started, 91, "a")
    assert seen(Stopped, 91, "a") == [EndDoubted("a", 91, seen.mirror.position, unannounced=False)]
    asked = seen.mirror.position
    # A List asked before the signal says nothing of it; one asked after does.
    assert seen(Listed, asked - 1, ((91, "a"),)) == []
    assert seen(Listed, asked, ((91, "a"),)) == [ContainerRestarted("a", 91)]
    seen(Stopped, 91, "a")
    assert seen(Listed, seen.mirror.position, ()) == [ContainerEnded("a", 91, EndCause.STOPPED)]


def test_a_doubt_that_no_list_settles_is_believed() -> None:
    seen = Seen()
    seen(Started, 91, "a")
    seen(Stopped, 91, "a")
    at = seen.mirror.position
    assert seen(EndBelieved, "a", 91, at) == [ContainerEnded("a", 91, EndCause.STOPPED)]
    assert seen(EndBelieved, "a", 91, at) == []


def test_what_no_list_has_is_missing_and_then_lost() -> None:
    seen = Seen()
    seen.run("a", 91)
    assert seen(Listed, seen.mirror.position, ()) == [EndDoubted("a", 91, seen.mirror.position, unannounced=True)]
    assert (seen.mirror.find("a"), seen.mirror.listing(), seen.mirror.count) == (None, [], 1)
    # Each List that lacks it says so again: a check of it may have come to nothing.
    assert seen(Listed, seen.mirror.position, ()) == [EndDoubted("a", 91, seen.mirror.position, unannounced=True)]
    assert seen(EndBelieved, "a", 91, seen.mirror.position) == [ContainerEnded("a", 91, EndCause.LOST)]
    assert seen.mirror.count == 0


def test_a_missing_one_whose_signal_was_on_its_way() -> None:
    seen = Seen()
    seen.run("a", 91)
    seen(Listed, seen.mirror.position, ())
    at = seen.mirror.position
    assert seen(Stopped, 91, "a") == [ContainerEnded("a", 91, EndCause.STOPPED)]
    assert seen(EndBelieved, "a", 91, at) == []


def test_a_missing_one_that_is_back() -> None:
    seen = Seen()
    seen.run("a", 91)
    seen(Listed, seen.mirror.position, ())
    at = seen.mirror.position
    assert seen(Listed, seen.mirror.position, ((91, "a"),)) == []
    assert seen(EndBelieved, "a", 91, at) == []
    assert found(seen.mirror, "a").descriptor == 91


def test_an_older_doubt_does_not_settle_a_newer_one() -> None:
    """It crashed and was restarted twice in a row: each Stopped is looked into by its own List."""
    seen = Seen()
    seen(Listed, seen.mirror.position, ((91, "a"),))
    seen(Stopped, 91, "a")
    first = seen.mirror.position
    seen(Started, 91, "a")
    seen(Stopped, 91, "a")
    second = seen.mirror.position
    assert seen(Listed, first, ((91, "a"),)) == []
    assert seen(EndBelieved, "a", 91, first) == []
    assert seen(Listed, second, ((91, "a"),)) == [ContainerRestarted("a", 91)]


def test_a_doubted_one_whose_id_is_used_again_had_stopped() -> None:
    seen = Seen()
    seen(Listed, seen.mirror.position, ((91, "a"),))
    seen(Stopped, 91, "a")
    assert seen(Started, 45, "a") == [ContainerEnded("a", 91, EndCause.STOPPED), ContainerStarted("a", 45)]


def test_an_id_used_again_is_another_container() -> None:
    seen = Seen()
    seen.run("a", 91)
    first = found(seen.mirror, "a")
    assert seen(Started, 45, "a") == [ContainerEnded("a", 91, EndCause.LOST), ContainerStarted("a", 45)]
    assert found(seen.mirror, "a") is not first
    assert seen.mirror.find("91") is None


def test_a_descriptor_used_again_is_another_container() -> None:
    seen = Seen()
    seen.run("a", 91)
    assert seen(Listed, seen.mirror.position, ((91, "b"),)) == [
        ContainerEnded("a", 91, EndCause.LOST),
        ContainerStarted("b", 91),
    ]


@pytest.mark.parametrize("text", ["091", " 91", "+91", "91.0", "٩١", "", "-91", "9" * 400])
def test_only_the_exact_decimal_text_is_a_descriptor(text: str) -> None:
    seen = Seen()
    seen.run("a", 91)
    assert seen.mirror.find(text) is None


def test_descriptors_that_are_none_are_not_taken() -> None:
    seen = Seen()
    assert seen(Listed, seen.mirror.position, ((0, "a"), (-1, "b"))) == []


def test_states_as_dobby_tells_them() -> None:
    seen = Seen()
    seen.run("a", 91)
    container = found(seen.mirror, "a")
    asked = seen.mirror.position
    seen(StateSeen, asked, 91, SubState.PAUSED)
    assert container.substate == "Paused"
    seen(StateSignal, 91, "a", SubState.HIBERNATED)
    seen(StateSeen, asked, 91, SubState.RUNNING)  # asked before the signal
    assert container.substate == "Hibernated"
    seen(StateSeen, seen.mirror.position, 91, SubState.INVALID)  # an end in progress makes no state
    assert container.substate == "Hibernated"
    seen(StateSignal, 91, "a", SubState.RUNNING)
    container.stopping += 1
    assert container.substate == "Stopping"


def test_a_deaf_dobby_keeps_its_containers() -> None:
    seen = Seen()
    seen.run("a", 91)
    assert seen(StatusSeen, DobbyStatus.DEAF) == [StatusChanged(DobbyStatus.DEAF)]
    assert seen(Started, 45, "b") == [ContainerStarted("b", 45)]
    assert seen.mirror.count == 2


def test_what_was_known_before_our_restart() -> None:
    seen = Seen(ready=False)
    seen(DobbyAppeared)
    seen.mirror.recall({("a", 91): BUNDLE})
    seen(Listed, 0, ((91, "a"), (45, "b")))
    assert (found(seen.mirror, "a").plan, found(seen.mirror, "b").plan.origin) == (BUNDLE, Origin.UNKNOWN)
    seen.mirror.recall({("c", 0): BUNDLE, ("d", 0): BUNDLE})  # their starts were under way when we were stopped
    seen(Listed, seen.mirror.position, ((91, "a"), (45, "b"), (7, "c")))
    assert found(seen.mirror, "c").plan is BUNDLE
    assert seen.mirror.plans() == {("a", 91): BUNDLE, ("c", 7): BUNDLE}
    seen(PictureTaken)  # "d" failed to start; a later container of that id is somebody else's
    seen(Started, 5, "d")
    assert found(seen.mirror, "d").plan.origin is Origin.UNKNOWN


def test_memory_of_what_came_and_went_is_bounded() -> None:
    seen = Seen()
    for n in range(3000):
        seen.run(f"c{n}", n % 1023 + 1)
        seen(Stopped, n % 1023 + 1, f"c{n}")
    assert len(seen.mirror._touched) <= 1100
    assert seen.mirror.count == 0
