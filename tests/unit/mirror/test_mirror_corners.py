# SPDX-License-Identifier: Apache-2.0
"""The mirror where two of its rules meet."""

import pytest

from ocibridge.mirror import events
from ocibridge.mirror.observations import (
    DobbyAppeared,
    DobbyLost,
    Listed,
    SnapshotTaken,
    StartAnswered,
    Started,
    StateSeen,
    StateSignal,
    StatusSeen,
    Stopped,
)
from ocibridge.model import Caller, DobbyStatus, SubState
from tests.unit.mirror.test_mirror import BUNDLE, LIFE, Seen, found, short


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
    seen.mirror.observe(SnapshotTaken(":1.8"))
    assert seen.mirror.status is DobbyStatus.READY


def test_a_container_that_a_list_found_before_the_reply_is_ours() -> None:
    seen = Seen()
    seen.mirror.send_start("a", BUNDLE)
    asked = seen.mirror.position
    seen(Listed, asked, ((91, "a"),))
    assert found(seen.mirror, "a").provenance is not BUNDLE
    assert seen(StartAnswered, asked, "a", 91) == []  # nobody has been told of it yet
    assert found(seen.mirror, "a").provenance is BUNDLE
    assert seen(StateSeen, seen.mirror.position, 91, SubState.PAUSED) == [
        ("started", "a", 91, "Paused")
    ]


def test_a_container_that_only_the_reply_tells_of_is_not_in_an_older_list() -> None:
    seen = Seen()
    before = seen.mirror.position
    seen.mirror.send_start("a", BUNDLE)
    assert seen(StartAnswered, before, "a", 91) == [("started", "a", 91, "Running")]
    assert seen(Listed, before, ()) == []
    assert [c.id for c in seen.mirror.listing()] == ["a"]


def test_a_start_that_failed_makes_no_container() -> None:
    seen = Seen()
    seen.mirror.send_start("a", BUNDLE)
    assert seen(StartAnswered, seen.mirror.position, "a", 0) == []
    assert (seen.mirror.find("a"), seen.mirror.count, seen.mirror.is_starting("a")) == (
        None,
        0,
        False,
    )


def test_a_start_is_announced_to_those_who_wait_when_it_goes_out_and_when_it_is_over() -> None:
    seen = Seen()
    seen.mirror.send_start("a", BUNDLE)
    assert seen.events == [events.PendingStartsChanged("a")]
    assert seen.mirror.is_starting("a")
    seen.mirror.observe(StartAnswered(LIFE, seen.mirror.position, "a", 0))
    assert seen.events == [events.PendingStartsChanged("a")] * 2


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
    assert seen(SnapshotTaken) == [("started", "a", 91, "Running"), ("status", DobbyStatus.READY)]
    assert seen(Listed, seen.mirror.position, ((91, "a"), (45, "b"))) == [("found", "b", 45)]


@pytest.mark.parametrize(("kind", "position"), [(StateSignal, False), (StateSeen, True)])
def test_a_missing_container_whose_state_is_told_is_there(
    kind: type[StateSignal | StateSeen], position: bool
) -> None:
    seen = Seen()
    seen.run("a", 91)
    seen(Listed, seen.mirror.position, ())
    assert seen.mirror.find("a") is None
    if position:
        seen(kind, seen.mirror.position, 91, SubState.PAUSED)
    else:
        seen(kind, 91, "a", SubState.PAUSED)
    assert found(seen.mirror, "a").substate == "Paused"


def test_a_start_under_way_ends_with_dobby() -> None:
    seen = Seen()
    seen.mirror.send_start("a", BUNDLE)
    seen(DobbyLost)
    assert not seen.mirror.is_starting("a")
    seen.mirror.observe(DobbyAppeared(":1.8"))
    seen.mirror.observe(Started(":1.8", 91, "a"))
    assert found(seen.mirror, "a").provenance is not BUNDLE


def test_a_status_is_told_when_it_changes() -> None:
    seen = Seen()
    assert seen(StatusSeen, DobbyStatus.READY) == []
    assert seen(StatusSeen, DobbyStatus.DEAF) == [("status", DobbyStatus.DEAF)]
    assert seen(StatusSeen, DobbyStatus.DEAF) == []


def test_a_restart_whose_signal_was_missed_has_the_time_at_which_it_was_seen() -> None:
    seen = Seen()
    seen(Started, 91, "a")
    before = found(seen.mirror, "a").started_at
    seen(Stopped, 91, "a")
    assert seen(Listed, seen.mirror.position, ((91, "a"),)) == [("restarted", "a", 91)]
    assert found(seen.mirror, "a").started_at > before


def test_starts_under_way_are_among_what_is_known_of_containers() -> None:
    """They are remembered across our own restart."""
    seen = Seen()
    seen.mirror.send_start("a", BUNDLE)
    assert seen.mirror.provenance() == {("a", 0): BUNDLE}
    seen(StartAnswered, seen.mirror.position, "a", 91)
    assert seen.mirror.provenance() == {("a", 91): BUNDLE}


def test_the_first_who_asked_for_a_stop_is_the_one_who_is_named() -> None:
    seen = Seen()
    seen.run("a", 91)
    container = found(seen.mirror, "a")
    first, second = (
        seen.mirror.begin_stop(container, Caller(sender)) for sender in (":1.1", ":1.2")
    )
    seen.mirror.end_stop(container, first, withdrawn=False)
    seen(Stopped, 91, "a")
    assert seen.last().exit.requested_by.sender == ":1.1"
    del second


def test_the_end_of_a_stop_says_nothing_of_a_container_that_has_ended() -> None:
    seen = Seen()
    seen.run("a", 91)
    container = found(seen.mirror, "a")
    request = seen.mirror.begin_stop(container, Caller(":1.1"))
    seen(Stopped, 91, "a")
    seen.events.clear()
    seen.mirror.end_stop(container, request, withdrawn=False)
    assert seen.events == []


def test_what_was_known_of_one_dobbys_containers_is_not_believed_of_the_next() -> None:
    seen = Seen(ready=False)
    seen.mirror.observe(DobbyAppeared(LIFE))
    seen.mirror.recall({("a", 91): BUNDLE})
    seen(DobbyLost)
    seen.mirror.observe(DobbyAppeared(":1.8"))
    seen.mirror.observe(Listed(":1.8", seen.mirror.position, ((91, "a"),)))
    assert found(seen.mirror, "a").provenance is not BUNDLE
