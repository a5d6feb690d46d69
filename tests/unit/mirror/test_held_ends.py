# SPDX-License-Identifier: Apache-2.0
"""Ends that the mirror holds back, since Dobby may be leaving as well (design 5)."""

from typing import Any

import pytest

from ocibridge.mirror.observations import (
    DobbyLost,
    EndConfirmed,
    EndStatus,
    HoldOver,
    Listed,
    StartAnswered,
    Started,
    StateSeen,
    StateSignal,
    Stopped,
)
from ocibridge.model import Caller, Origin, Provenance, SubState
from tests.unit.mirror.test_mirror import BUNDLE, Seen, found

SPEC = Provenance(Origin.SPEC, has_rdk_plugins=True)


def killed(plan: Provenance = BUNDLE, status: int = 15) -> tuple[Seen, int]:
    """A container that ran, and where its end by that status was held."""
    seen = Seen()
    seen.mirror.send_start("a", plan)
    asked = seen.mirror.position
    seen(Started, 91, "a")
    seen(StartAnswered, asked, "a", 91)
    seen(EndStatus, 91, "a", status)
    at = seen.mirror.position
    seen(Stopped, 91, "a")
    return seen, at


@pytest.mark.parametrize("status", [9, 15, 15 | 0x80])
def test_a_dobby_that_stays_has_lost_a_container_to_a_signal(status: int) -> None:
    seen, at = killed(status=status)
    assert (
        seen.mirror.find("a"),
        seen.mirror.find("91"),
        seen.mirror.listing(),
        seen.mirror.count,
    ) == (None, None, [], 1)
    assert seen(HoldOver, "a", 91, at - 1) == []
    assert seen(HoldOver, "a", 91, at) == [("ended", "a", 91, "crashed")]
    assert (seen(HoldOver, "a", 91, at), seen.mirror.count) == ([], 0)


@pytest.mark.parametrize("plan", [BUNDLE, SPEC])
@pytest.mark.parametrize("stopped", [False, True])
def test_a_dobby_that_leaves_took_it_along(plan: Provenance, stopped: bool) -> None:
    seen = Seen()
    seen.mirror.send_start("a", plan)
    seen(Started, 91, "a")
    seen(EndStatus, 91, "a", 15)
    if stopped:
        seen(Stopped, 91, "a")
    assert seen(DobbyLost) == [("status", "absent"), ("ended", "a", 91, "dobby-gone")]
    assert (seen.last().exit.failure_code, seen.last().exit.wait_status) == (4, 15)


@pytest.mark.parametrize("status", [0, 256, 139, 6, 2])
def test_other_ends_are_told_at_once(status: int) -> None:
    seen, _ = killed(status=status)
    assert (seen.last().exit.wait_status, seen.mirror.count) == (status, 0)


def test_what_was_asked_for_is_told_at_once() -> None:
    seen = Seen()
    seen.run("a", 91)
    seen.mirror.begin_stop(found(seen.mirror, "a"), Caller(":1.1"))
    assert seen(EndStatus, 91, "a", 15) == []
    assert seen(Stopped, 91, "a") == [("ended", "a", 91, "requested")]


def test_a_stop_that_begins_before_stopped_is_the_reason() -> None:
    seen = Seen()
    seen.run("a", 91)
    seen(EndStatus, 91, "a", 9)
    seen.mirror.begin_stop(found(seen.mirror, "a"), Caller(":1.1"))
    assert seen(Stopped, 91, "a") == [("ended", "a", 91, "requested")]


def test_who_has_to_know_is_told() -> None:
    for text in ("a", "91"):
        seen, at = killed()
        seen.mirror.release_hold(text)
        assert (seen.last().id, seen.last().exit.reason, seen.mirror.count) == ("a", "crashed", 0)
        assert seen(HoldOver, "a", 91, at) == []
    seen = Seen()
    seen.run("a", 91)
    container = found(seen.mirror, "a")
    seen(EndStatus, 91, "a", 15)
    seen(Stopped, 91, "a")
    seen.mirror.begin_stop(container, Caller(":1.1"))  # it was looked up before the end
    assert (seen.last().exit.reason, seen.last().exit.requested_by) == ("crashed", None)


def test_a_start_of_that_id_is_told_after_the_end() -> None:
    seen, _ = killed()
    seen.mirror.send_start("a", BUNDLE)
    assert seen.events[-2].exit.reason == "crashed"  # type: ignore[union-attr]
    seen, _ = killed()
    assert seen(Started, 45, "a") == [
        ("ended", "a", 91, "crashed"),
        ("started", "a", 45, "Running"),
    ]
    seen, _ = killed()
    assert seen(Started, 91, "b") == [
        ("ended", "a", 91, "crashed"),
        ("started", "b", 91, "Running"),
    ]
    seen, at = killed()
    assert seen(Started, 91, "a") == [
        ("ended", "a", 91, "crashed"),
        ("started", "a", 91, "Running"),
    ]
    assert (seen(HoldOver, "a", 91, at), seen.mirror.count) == ([], 1)


def test_lists_and_states_of_a_held_end() -> None:
    seen, at = killed()
    late = seen.mirror.position
    assert seen(Listed, late, ()) == []
    assert seen(Listed, at - 1, ((91, "a"),)) == []  # asked before the end: it says nothing of it
    assert seen(StateSeen, late, 91, SubState.PAUSED) == []
    assert seen(StateSignal, 91, "a", SubState.RUNNING) == []
    assert seen(Stopped, 91, "a") == []
    assert seen.mirror.find("a") is None
    assert seen(Listed, seen.mirror.position, ((91, "a"),)) == [
        ("ended", "a", 91, "crashed"),
        ("found", "a", 91),
    ]


def test_a_late_answer_to_its_start_does_not_concern_a_held_end() -> None:
    seen = Seen()
    seen.mirror.send_start("a", BUNDLE)
    asked = seen.mirror.position
    seen(Started, 91, "a")
    seen(EndStatus, 91, "a", 9)
    seen(Stopped, 91, "a")
    assert seen(StartAnswered, asked, "a", 91) == []
    assert (seen.mirror.find("a"), seen.mirror.count) == (None, 1)


def test_a_doubted_end_is_held_as_well() -> None:
    seen, at = killed(SPEC)
    assert seen.mirror.find("a") is not None  # whether it has ended is not known
    assert seen(Listed, seen.mirror.position, ()) == []
    assert seen.mirror.find("a") is None
    assert seen(HoldOver, "a", 91, at) == [("ended", "a", 91, "crashed")]
    seen, at = killed(SPEC)
    doubt = seen.mirror.position
    assert seen(HoldOver, "a", 91, at) == []  # the holding is over, the doubt is not
    assert seen(EndConfirmed, "a", 91, doubt) == [("ended", "a", 91, "crashed")]


def test_a_restart_by_dobby_ends_the_holding() -> None:
    seen, at = killed(SPEC)
    assert seen(Listed, seen.mirror.position, ((91, "a"),)) == [("restarted", "a", 91)]
    assert seen(HoldOver, "a", 91, at) == []
    assert seen(DobbyLost)[-1] == ("ended", "a", 91, "dobby-gone")


def test_a_second_status_counts() -> None:
    seen = Seen()
    seen.run("a", 91)
    seen(EndStatus, 91, "a", 9)
    seen(EndStatus, 91, "a", 256)
    assert seen(Stopped, 91, "a") == [("ended", "a", 91, "exited")]


def test_what_was_never_announced_ends_unannounced() -> None:
    seen = Seen()
    events: list[Any] = seen(Listed, seen.mirror.position, ((91, "a"),))
    assert events == [("found", "a", 91)]
    assert seen(EndStatus, 91, "a", 9) == [("held", "a", 91, seen.mirror.position)]
    at = seen.mirror.position
    seen(Stopped, 91, "a")
    seen(Listed, seen.mirror.position, ())
    assert seen(HoldOver, "a", 91, at) == [("ended unannounced", "a", 91, "crashed")]
    assert (seen.mirror.find("a"), seen.mirror.count, len(seen.mirror._registry)) == (None, 0, 0)
