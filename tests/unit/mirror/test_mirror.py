# SPDX-License-Identifier: Apache-2.0
"""The mirror: ids, descriptors, states, ends, late answers (docs/design.md, The mirror)."""

import itertools
from typing import Any

import pytest

from ocibridge.mirror import events
from ocibridge.mirror.mirror import Mirror
from ocibridge.mirror.observations import (
    DobbyAppeared,
    DobbyLost,
    EndConfirmed,
    EndStatus,
    HoldOver,
    Listed,
    SnapshotTaken,
    StartAnswered,
    Started,
    StateSeen,
    StateSignal,
    StatusSeen,
    Stopped,
)
from ocibridge.model import Caller, Container, DobbyStatus, Origin, Provenance, SubState

LIFE = ":1.7"
BUNDLE = Provenance(Origin.BUNDLE, "/b", has_rdk_plugins=True)


def short(event: events.Event) -> tuple[Any, ...]:  # noqa: C901 - one line for each kind
    """An event as tests like to read it."""
    match event:
        case events.StatusChanged():
            return "status", event.status
        case events.ContainerFound():
            return "found", event.id, event.descriptor
        case events.ContainerStarted():
            return "started", event.id, event.descriptor, event.substate
        case events.StateChanged():
            return "state", event.id, event.substate
        case events.ContainerRestarted():
            return "restarted", event.id, event.descriptor
        case events.EndUnconfirmed():
            return "doubted", event.id, event.descriptor, event.at, event.unannounced
        case events.EndHeld():
            return "held", event.id, event.descriptor, event.at
        case events.ContainerEnded():
            return "ended", event.id, event.descriptor, event.exit.reason
        case events.UnannouncedEnd():
            return "ended unannounced", event.id, event.descriptor, event.exit.reason
        case events.ProvenanceCorrected():
            return "corrected", event.id
        case events.PendingStartsChanged():
            return "plans", event.id


class Seen:
    """A mirror, and the events that came out of it."""

    def __init__(self, *, ready: bool = True) -> None:
        self.events: list[events.Event] = []
        clock = itertools.count(1000)
        self.mirror = Mirror(self.events.append, lambda: next(clock))
        if ready:
            self.mirror.observe(DobbyAppeared(LIFE))
            self.mirror.observe(SnapshotTaken(LIFE))
            self.events.clear()

    def __call__(self, kind: type[Any], *rest: Any) -> list[tuple[Any, ...]]:
        """Observe; the events of that."""
        before = len(self.events)
        self.mirror.observe(kind(LIFE, *rest))
        return [
            short(event)
            for event in self.events[before:]
            if not isinstance(event, events.PendingStartsChanged)
        ]

    def last(self) -> Any:
        """The last event."""
        return self.events[-1]

    def run(self, container_id: str, descriptor: int) -> None:
        """A container of ours is there."""
        self.mirror.send_start(container_id, BUNDLE)
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
    assert (
        seen.mirror.count,
        [e for e in seen.events if isinstance(e, events.ContainerStarted)],
    ) == (0, [])
    assert seen(SnapshotTaken) == [
        ("started", "a", 7, "Running"),
        ("started", "b", 91, "Running"),
        ("status", "ready"),
    ]
    assert seen.mirror.count == 2


def test_dobby_lost_voids_everything_in_order() -> None:
    seen = Seen()
    seen.run("b", 91)
    seen.run("a", 7)
    assert seen(DobbyLost) == [
        ("status", "absent"),
        ("ended", "a", 7, "dobby-gone"),
        ("ended", "b", 91, "dobby-gone"),
    ]
    assert (seen.mirror.count, seen.mirror.listing(), seen.mirror.owner) == (0, [], None)


def test_an_older_life_is_dropped() -> None:
    seen = Seen()
    seen.mirror.observe(DobbyAppeared(":1.8"))
    assert seen(Started, 91, "a") == []
    assert seen(SnapshotTaken) == []
    assert seen.mirror.status is DobbyStatus.STARTING


def test_started_before_its_reply_and_started_once() -> None:
    seen = Seen()
    seen.mirror.send_start("a", BUNDLE)
    assert seen.mirror.is_starting("a")
    assert seen(Started, 91, "a") == [("started", "a", 91, "Running")]
    assert seen(StartAnswered, 0, "a", 91) == []
    assert not seen.mirror.is_starting("a")
    assert seen(Listed, seen.mirror.position, ((91, "a"),)) == []
    assert found(seen.mirror, "91").provenance is BUNDLE


def test_a_reply_without_a_signal_is_enough() -> None:
    seen = Seen()
    seen.mirror.send_start("a", BUNDLE)
    assert seen(StartAnswered, seen.mirror.position, "a", 91) == [("started", "a", 91, "Running")]


def test_a_reply_after_the_end_does_not_bring_it_back() -> None:
    seen = Seen()
    seen.mirror.send_start("a", BUNDLE)
    asked = seen.mirror.position
    seen(Started, 91, "a")
    seen(Stopped, 91, "a")
    assert seen(StartAnswered, asked, "a", 91) == []
    assert seen.mirror.find("a") is None


def test_a_list_that_a_signal_overtook_does_not_bring_back_the_dead() -> None:
    seen = Seen()
    seen.run("a", 91)
    asked = seen.mirror.position
    assert seen(Stopped, 91, "a") == [("ended", "a", 91, "exited")]
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
    seen.mirror.send_start("a", BUNDLE)
    asked = seen.mirror.position
    seen(Started, 91, "a")
    assert seen(StartAnswered, asked, "a", 0) == [("corrected", "a")]
    assert found(seen.mirror, "a").provenance.origin is Origin.UNKNOWN


def test_a_restart_before_the_first_picture_is_no_news() -> None:
    seen = Seen(ready=False)
    seen(DobbyAppeared)
    for observation in (
        (Started, 91, "a"),
        (Started, 91, "a"),
        (EndStatus, 91, "a", 1280),
        (Stopped, 91, "a"),
    ):
        seen(*observation)
    assert seen(Listed, seen.mirror.position, ((91, "a"),)) == []
    assert seen(SnapshotTaken) == [("started", "a", 91, "Running"), ("status", "ready")]


@pytest.mark.parametrize(
    "plan", [Provenance(Origin.SPEC, has_rdk_plugins=True), Provenance(Origin.UNKNOWN)]
)
def test_stopped_of_what_may_restart_is_doubted(plan: Provenance) -> None:
    seen = Seen()
    seen.mirror.send_start("a", plan)
    seen(Started, 91, "a")
    assert seen(Stopped, 91, "a") == [("doubted", "a", 91, seen.mirror.position, False)]
    asked = seen.mirror.position
    # A List asked before the signal says nothing of it; one asked after does.
    assert seen(Listed, asked - 1, ((91, "a"),)) == []
    assert seen(Listed, asked, ((91, "a"),)) == [("restarted", "a", 91)]
    seen(Stopped, 91, "a")
    assert seen(Listed, seen.mirror.position, ()) == [("ended", "a", 91, "exited")]


def test_a_doubt_that_no_list_settles_is_believed() -> None:
    seen = Seen()
    seen(Started, 91, "a")
    seen(Stopped, 91, "a")
    at = seen.mirror.position
    assert seen(EndConfirmed, "a", 91, at) == [("ended", "a", 91, "exited")]
    assert seen(EndConfirmed, "a", 91, at) == []


def test_what_no_list_has_is_missing_and_then_lost() -> None:
    seen = Seen()
    seen.run("a", 91)
    assert seen(Listed, seen.mirror.position, ()) == [
        ("doubted", "a", 91, seen.mirror.position, True)
    ]
    assert (seen.mirror.find("a"), seen.mirror.listing(), seen.mirror.count) == (None, [], 1)
    # Each List that lacks it says so again: a check of it may have come to nothing.
    assert seen(Listed, seen.mirror.position, ()) == [
        ("doubted", "a", 91, seen.mirror.position, True)
    ]
    assert seen(EndConfirmed, "a", 91, seen.mirror.position) == [("ended", "a", 91, "lost")]
    assert seen.mirror.count == 0


def test_a_missing_one_whose_signal_was_on_its_way() -> None:
    seen = Seen()
    seen.run("a", 91)
    seen(Listed, seen.mirror.position, ())
    at = seen.mirror.position
    assert seen(Stopped, 91, "a") == [("ended", "a", 91, "exited")]
    assert seen(EndConfirmed, "a", 91, at) == []


def test_a_missing_one_that_is_back() -> None:
    seen = Seen()
    seen.run("a", 91)
    seen(Listed, seen.mirror.position, ())
    at = seen.mirror.position
    assert seen(Listed, seen.mirror.position, ((91, "a"),)) == []
    assert seen(EndConfirmed, "a", 91, at) == []
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
    assert seen(EndConfirmed, "a", 91, first) == []
    assert seen(Listed, second, ((91, "a"),)) == [("restarted", "a", 91)]


def test_a_doubted_one_whose_id_is_used_again_had_stopped() -> None:
    seen = Seen()
    seen(Started, 91, "a")
    seen(Stopped, 91, "a")
    assert seen(Started, 45, "a") == [("ended", "a", 91, "exited"), ("started", "a", 45, "Running")]


def test_an_id_used_again_is_another_container() -> None:
    seen = Seen()
    seen.run("a", 91)
    first = found(seen.mirror, "a")
    assert seen(Started, 45, "a") == [("ended", "a", 91, "lost"), ("started", "a", 45, "Running")]
    assert found(seen.mirror, "a") is not first
    assert seen.mirror.find("91") is None


def test_a_descriptor_used_again_is_another_container() -> None:
    seen = Seen()
    seen.run("a", 91)
    assert seen(Listed, seen.mirror.position, ((91, "b"),)) == [
        ("ended", "a", 91, "lost"),
        ("found", "b", 91),
    ]


@pytest.mark.parametrize("text", ["091", " 91", "+91", "91.0", "٩١", "", "-91", "9" * 400])
def test_only_the_exact_decimal_text_is_a_descriptor(text: str) -> None:
    seen = Seen()
    seen.run("a", 91)
    assert seen.mirror.find(text) is None


def test_descriptors_that_are_none_are_not_taken() -> None:
    seen = Seen()
    assert seen(Listed, seen.mirror.position, ((0, "a"), (-1, "b"))) == []


def test_what_only_a_list_tells_of_is_announced_with_its_state() -> None:
    seen = Seen()
    assert seen(Listed, seen.mirror.position, ((91, "a"),)) == [("found", "a", 91)]
    assert (found(seen.mirror, "a").descriptor, seen.mirror.count) == (91, 0)
    assert seen(StateSeen, seen.mirror.position, 91, SubState.PAUSED) == [
        ("started", "a", 91, "Paused")
    ]
    container = found(seen.mirror, "a")
    assert (container.started_at, container.changed_at) == (0, 0)  # before our time


def test_states_as_dobby_tells_them() -> None:
    seen = Seen()
    seen.run("a", 91)
    asked = seen.mirror.position
    assert seen(StateSeen, asked, 91, SubState.PAUSED) == [("state", "a", "Paused")]
    assert seen(StateSeen, asked, 91, SubState.PAUSED) == []
    assert seen(StateSignal, 91, "a", SubState.HIBERNATED) == [("state", "a", "Hibernated")]
    assert seen(StateSeen, asked, 91, SubState.RUNNING) == []  # asked before the signal
    assert seen(StateSignal, 91, "a", SubState.RUNNING) == [("state", "a", "Running")]


def test_a_state_that_changes_has_its_time_and_a_finer_one_has_not() -> None:
    seen = Seen()
    seen.run("a", 91)
    container = found(seen.mirror, "a")
    assert (container.started_at, container.changed_at) == (1000, 1000)
    seen(StateSeen, seen.mirror.position, 91, SubState.HIBERNATING)
    assert (container.substate.state, container.changed_at) == ("Running", 1000)
    seen(StateSeen, seen.mirror.position, 91, SubState.HIBERNATED)
    assert (container.substate.state, container.changed_at) == ("Paused", 1001)


def test_a_state_of_0_is_invalid_only_if_a_later_list_still_has_it() -> None:
    seen = Seen()
    seen.run("a", 91)
    before = seen.mirror.position
    assert seen(StateSeen, before, 91, SubState.INVALID) == []  # an end in progress makes no event
    assert seen(Listed, before, ((91, "a"),)) == []
    assert seen(Listed, seen.mirror.position, ((91, "a"),)) == [("state", "a", "Invalid")]
    assert seen(StateSeen, seen.mirror.position, 91, SubState.RUNNING) == [
        ("state", "a", "Running")
    ]
    seen(StateSeen, seen.mirror.position, 91, SubState.INVALID)
    seen(Started, 91, "a")
    assert seen(Listed, seen.mirror.position, ((91, "a"),)) == []


def test_a_stop_of_ours_shows_as_stopping_for_as_long_as_it_is_under_way() -> None:
    seen = Seen()
    seen.run("a", 91)
    container = found(seen.mirror, "a")

    def changes() -> list[str]:
        return [event.substate for event in seen.events if isinstance(event, events.StateChanged)]

    first = seen.mirror.begin_stop(container, Caller(":1.1"))
    second = seen.mirror.begin_stop(container, Caller(":1.2"))
    assert (container.substate, changes()) == ("Stopping", ["Stopping"])
    seen.mirror.end_stop(container, first, withdrawn=True)
    assert container.substate == "Stopping"
    seen.mirror.end_stop(container, second, withdrawn=False)
    assert (container.substate, changes()) == ("Running", ["Stopping", "Running"])
    seen(Stopped, 91, "a")
    assert (seen.last().exit.reason, seen.last().exit.requested_by.sender) == ("requested", ":1.2")


@pytest.mark.parametrize(
    ("status", "asked", "expected"),
    [
        (0, False, ("exited", 0, None, False, None)),
        (256, False, ("exited", 1, None, False, 2)),
        (65280, False, ("exited", 255, None, False, 2)),
        (139, False, ("crashed", None, 11, True, 3)),
        (9, False, ("crashed", None, 9, False, 3)),
        (15, True, ("requested", None, 15, False, None)),
        (256, True, ("requested", 1, None, False, None)),
        (None, False, ("exited", None, None, False, None)),
        (0x7F, False, ("exited", None, None, False, None)),  # a word that tells of no end
        (-1, False, ("exited", None, None, False, None)),
        (2**31 - 1, False, ("exited", None, None, False, None)),
    ],
)
def test_what_an_end_is_made_of(status: int | None, asked: bool, expected: tuple[Any, ...]) -> None:
    seen = Seen()
    seen.run("a", 91)
    if asked:
        seen.mirror.begin_stop(found(seen.mirror, "a"), Caller(":1.1", 1000, 42, "app"))
    held = status == 9 and not asked
    if status is not None:
        assert seen(EndStatus, 91, "a", status) == [("held", "a", 91, seen.mirror.position)] * held
    at = seen.mirror.position
    seen(Stopped, 91, "a")
    seen(HoldOver, "a", 91, at)
    record = seen.last().exit
    assert (
        record.reason,
        record.exit_code,
        record.signal,
        record.core_dumped,
        record.failure_code,
    ) == expected
    assert (record.wait_status, record.started_at) == (status, 1000)
    assert record.stopped_at > record.started_at
    assert (record.requested_by is not None) is asked


def test_ends_that_dobby_did_not_tell_of() -> None:
    seen = Seen()
    for n, container_id in enumerate(("silent", "asked", "said", "gone", "stopped")):
        seen.run(container_id, n + 1)
    seen.mirror.begin_stop(found(seen.mirror, "asked"), Caller(":1.1"))
    seen(EndStatus, 3, "said", 139)
    seen(Listed, seen.mirror.position, ((4, "gone"), (5, "stopped")))
    codes = {}
    for n, container_id in enumerate(("silent", "asked", "said")):
        seen(EndConfirmed, container_id, n + 1, seen.mirror.position)
        codes[container_id] = (seen.last().exit.reason.value, seen.last().exit.failure_code)
    seen.mirror.begin_stop(found(seen.mirror, "stopped"), Caller(":1.1"))
    seen(DobbyLost)
    codes |= {
        e.id: (e.exit.reason.value, e.exit.failure_code)
        for e in seen.events[-2:]
        if isinstance(e, events.ContainerEnded)
    }
    assert codes == {
        "silent": ("lost", 4),
        "asked": ("requested", None),
        "said": ("crashed", 3),  # its status was the last that was heard of it
        "gone": ("dobby-gone", 4),
        "stopped": (
            "dobby-gone",
            None,
        ),  # whether it has stopped is not known; somebody had asked for it
    }


def test_a_restart_is_no_end_and_its_status_is_none_of_the_next() -> None:
    seen = Seen()
    seen.mirror.send_start("a", Provenance(Origin.SPEC, has_rdk_plugins=True))
    seen(Started, 91, "a")
    # As the real one says it (captures, 31_…): twice Started, then the end of what ran before.
    for observation in ((Started, 91, "a"), (Started, 91, "a"), (EndStatus, 91, "a", 1280)):
        assert seen(*observation) == []
    seen(Stopped, 91, "a")
    assert seen(Listed, seen.mirror.position, ((91, "a"),)) == [("restarted", "a", 91)]
    assert found(seen.mirror, "a").started_at == 1002  # the last Started
    assert seen.last().started_at == 1002
    seen(Stopped, 91, "a")
    seen(Listed, seen.mirror.position, ())
    assert (seen.last().exit.reason, seen.last().exit.wait_status) == ("exited", None)


def test_what_is_found_and_gone_before_it_was_announced_ends_unannounced() -> None:
    seen = Seen()
    seen(Listed, seen.mirror.position, ((91, "a"),))
    seen(Listed, seen.mirror.position, ())
    assert seen(EndConfirmed, "a", 91, seen.mirror.position) == [
        ("ended unannounced", "a", 91, "lost")
    ]
    ready = Seen(ready=False)
    ready(DobbyAppeared)
    ready(Listed, 0, ((91, "a"),))
    ready(Listed, ready.mirror.position, ())
    assert ready(SnapshotTaken) == [("status", "ready")]


def test_a_deaf_dobby_keeps_its_containers() -> None:
    seen = Seen()
    seen.run("a", 91)
    assert seen(StatusSeen, DobbyStatus.DEAF) == [("status", "deaf")]
    assert seen(Started, 45, "b") == [("started", "b", 45, "Running")]
    assert seen.mirror.count == 2


def test_what_was_known_before_our_restart() -> None:
    seen = Seen(ready=False)
    seen(DobbyAppeared)
    seen.mirror.recall({("a", 91): BUNDLE})
    seen(Listed, 0, ((91, "a"), (45, "b")))
    assert (found(seen.mirror, "a").provenance, found(seen.mirror, "b").provenance.origin) == (
        BUNDLE,
        Origin.UNKNOWN,
    )
    seen.mirror.recall(
        {("c", 0): BUNDLE, ("d", 0): BUNDLE}
    )  # their starts were under way when we were stopped
    seen(Listed, seen.mirror.position, ((91, "a"), (45, "b"), (7, "c")))
    assert found(seen.mirror, "c").provenance is BUNDLE
    assert seen.mirror.provenance() == {("a", 91): BUNDLE, ("c", 7): BUNDLE}
    seen(SnapshotTaken)  # "d" failed to start; a later container of that id is somebody else's
    seen(Started, 5, "d")
    assert found(seen.mirror, "d").provenance.origin is Origin.UNKNOWN


def test_memory_of_what_came_and_went_is_bounded() -> None:
    seen = Seen()
    for n in range(3000):
        seen.run(f"c{n}", n % 1023 + 1)
        seen(Stopped, n % 1023 + 1, f"c{n}")
    assert len(seen.mirror._freshness._touched) <= 1100
    assert seen.mirror.count == 0
