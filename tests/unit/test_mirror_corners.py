"""The mirror where two of its rules meet: each of these is the only test that notices a broken one."""

from ocibridge import events
from ocibridge.model import DobbyStatus, SubState
from ocibridge.observations import DobbyAppeared, Listed, PictureTaken, StartAnswered, Started, StateSeen
from tests.unit.test_mirror import BUNDLE, LIFE, Seen, found, short


def test_another_dobby_without_a_loss_ends_the_containers_of_the_first() -> None:
    seen = Seen()
    seen.run("a", 91)
    seen.events.clear()
    seen.mirror.observe(DobbyAppeared(":1.8"))
    assert [short(event) for event in seen.events] == [
        ("status", DobbyStatus.ABSENT),
        ("ended", "a", 91, "dobby-gone"),
        ("status", DobbyStatus.STARTING),
    ]
    assert seen.mirror.listing() == []
    assert seen(Started, 91, "a") == []  # the first one may still say something
    seen.mirror.observe(PictureTaken(":1.8"))
    assert seen.mirror.status is DobbyStatus.READY


def test_a_container_that_a_list_found_before_the_reply_is_ours() -> None:
    seen = Seen()
    seen.mirror.plan_start("a", BUNDLE)
    asked = seen.mirror.position
    seen(Listed, asked, ((91, "a"),))
    assert found(seen.mirror, "a").plan is not BUNDLE
    seen(StartAnswered, asked, "a", 91)
    assert found(seen.mirror, "a").plan is BUNDLE


def test_a_container_that_only_the_reply_tells_of_is_not_in_an_older_list() -> None:
    seen = Seen()
    before = seen.mirror.position
    seen.mirror.plan_start("a", BUNDLE)
    assert seen(StartAnswered, before, "a", 91) == [("started", "a", 91, "Running")]
    assert seen(Listed, before, ()) == []
    assert [c.id for c in seen.mirror.listing()] == ["a"]


def test_a_start_that_failed_makes_no_container() -> None:
    seen = Seen()
    seen.mirror.plan_start("a", BUNDLE)
    assert seen(StartAnswered, seen.mirror.position, "a", 0) == []
    assert (seen.mirror.find("a"), seen.mirror.count, seen.mirror.is_starting("a")) == (None, 0, False)


def test_a_start_is_announced_to_those_who_wait_when_it_goes_out_and_when_it_is_over() -> None:
    seen = Seen()
    seen.mirror.plan_start("a", BUNDLE)
    assert seen.events == [events.PlansChanged("a")]
    assert seen.mirror.is_starting("a")
    seen.mirror.observe(StartAnswered(LIFE, seen.mirror.position, "a", 0))
    assert seen.events == [events.PlansChanged("a")] * 2


def test_a_list_asked_right_after_a_state_of_0_makes_it_invalid() -> None:
    """Nothing else need have been seen in between."""
    seen = Seen()
    seen.run("a", 91)
    assert seen(StateSeen, seen.mirror.position, 91, SubState.INVALID) == []
    assert seen(Listed, seen.mirror.position, ((91, "a"),)) == [("state", "a", "Invalid")]


def test_what_the_first_list_finds_is_no_find() -> None:
    """Its states are asked with the first picture; a later find has to be asked for its state."""
    seen = Seen(ready=False)
    seen.mirror.observe(DobbyAppeared(LIFE))
    assert seen(Listed, seen.mirror.position, ((91, "a"),)) == []
    assert seen(PictureTaken) == [("started", "a", 91, "Running"), ("status", DobbyStatus.READY)]
    assert seen(Listed, seen.mirror.position, ((91, "a"), (45, "b"))) == [("found", "b", 45)]
