# SPDX-License-Identifier: Apache-2.0
"""Pause, resume, hibernate and wakeup with a Dobby whose answers the test gives."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.lookup import Lookup
from ocibridge.bridge.transitions import Transitions
from ocibridge.bridge.waiters import StateWaiters
from ocibridge.config.schema import Config, Settings
from ocibridge.errors import DobbyRefused, NoSuchContainer, WrongState
from ocibridge.mirror.events import Event
from ocibridge.mirror.mirror import Mirror
from ocibridge.mirror.observations import (
    DobbyAppeared,
    Listed,
    SnapshotTaken,
    StateSeen,
    StateSignal,
    Stopped,
)
from ocibridge.model import Container, SubState
from tests.unit.mirror.test_mirror import Seen, found

RUNNING, PAUSED, INVALID = SubState.RUNNING, SubState.PAUSED, SubState.INVALID
HIBERNATING, HIBERNATED, AWAKENING = SubState.HIBERNATING, SubState.HIBERNATED, SubState.AWAKENING


@dataclass
class DobbyCall:
    """A call to Dobby."""

    what: str
    fresh: bool
    answer: "asyncio.Future[Any]"


class Questioned:
    """A Dobby that keeps each call until the test answers it."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._calls: asyncio.Queue[DobbyCall] = asyncio.Queue()

    def __getattr__(self, what: str) -> Callable[..., "asyncio.Future[Any]"]:
        def ask(*_: Any, fresh: bool = False) -> "asyncio.Future[Any]":
            call = DobbyCall(what, fresh, asyncio.get_running_loop().create_future())
            self._calls.put_nowait(call)
            return call.answer

        return ask

    def ensure_available(self) -> None:
        """Dobby is always available."""

    def pending_summary(self) -> str:
        return "Dobby owes no answer"

    async def next(self, what: str) -> DobbyCall:
        """The next call, which has to be `what`."""
        async with asyncio.timeout(10):
            call = await self._calls.get()
        assert call.what == what
        return call

    async def answer(self, what: str, answer: Any) -> DobbyCall:
        """Answer the next call. The mirror takes in a state before the caller, as in reality."""
        call = await self.next(what)
        if isinstance(answer, SubState):
            self._seen(StateSeen, self._seen.mirror.position, 91, answer)
        call.answer.set_result(answer)
        return call

    async def list(self, *containers: tuple[int, str]) -> None:
        """Answer the next call, a List sent after a GetState of 0."""
        call = await self.next("refresh")
        assert call.fresh
        self._seen(Listed, self._seen.mirror.position, containers)
        call.answer.set_result(None)


class WiredMirror(Seen):
    """A mirror whose events reach the waits synchronously, as in the daemon."""

    def __init__(self) -> None:
        super().__init__(ready=False)
        self.mirror = Mirror(self._emit, itertools.count(1000).__next__)
        self.waits = StateWaiters(self.mirror)
        for kind in (DobbyAppeared, SnapshotTaken):
            self(kind)
        self.events.clear()

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        self.waits.on_event(event)


@dataclass
class Scene:
    seen: WiredMirror
    dobby: Questioned
    container: Container
    changes: Transitions
    running: "list[asyncio.Task[None]]" = field(default_factory=list)

    def begin(self, verb: str) -> "asyncio.Task[None]":
        options = [""] if verb == "hibernate" else []
        self.running.append(
            asyncio.create_task(getattr(self.changes, verb)(self.container, *options))
        )
        return self.running[-1]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    seen = WiredMirror()
    seen.run("a", 91)
    dobby = Questioned(seen)
    port = cast("DobbyApi", dobby)
    changes = Transitions(
        seen.mirror, port, Lookup(seen.mirror, port, Settings(Config())), seen.waits
    )
    scene = Scene(seen, dobby, found(seen.mirror, "a"), changes)
    yield scene
    for task in scene.running:
        task.cancel()
    await asyncio.gather(*scene.running, return_exceptions=True)


slow_changes = pytest.mark.parametrize(
    ("verb", "passing", "wanted"),
    [("hibernate", HIBERNATING, HIBERNATED), ("wakeup", AWAKENING, RUNNING)],
)
quick_changes = pytest.mark.parametrize(
    ("verb", "before", "wanted"), [("pause", RUNNING, PAUSED), ("resume", PAUSED, RUNNING)]
)


@slow_changes
async def test_it_has_happened_when_dobby_shows_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, verb: str, passing: SubState, wanted: SubState
) -> None:
    """After a signal the state is polled at once, and that state counts."""
    monkeypatch.setattr("ocibridge.bridge.transitions.POLL_SECONDS", 3600)
    change = scene.begin(verb)
    await scene.dobby.answer(verb, answer=True)
    assert (await scene.dobby.answer("state", passing)).fresh
    for _ in range(10):
        await asyncio.sleep(0)  # it has the answer and awaits the signal
    assert not change.done()
    scene.seen(StateSignal, 91, "a", wanted)
    assert (await scene.dobby.answer("state", wanted)).fresh
    await change


@slow_changes
@pytest.mark.parametrize("is_listed", [False, True])
async def test_only_a_later_list_tells_whether_a_state_of_0_is_an_end(
    scene: Scene, verb: str, passing: SubState, wanted: SubState, is_listed: bool
) -> None:
    """The mirror still has the container: the signal of its end has not come."""
    change = scene.begin(verb)
    await scene.dobby.answer(verb, answer=True)
    await scene.dobby.answer("state", INVALID)
    await scene.dobby.list(*[(91, "a")] * is_listed)
    if is_listed and verb == "hibernate":  # asked once more: Awoken may come after the change
        await scene.dobby.answer("state", INVALID)
    with pytest.raises(
        DobbyRefused if is_listed else NoSuchContainer,
        match="is Invalid" if is_listed else f"ended during {verb}",
    ):
        await change
    del passing, wanted


@slow_changes
async def test_an_end_that_overtakes_the_answer(
    scene: Scene, verb: str, passing: SubState, wanted: SubState
) -> None:
    change = scene.begin(verb)
    await scene.dobby.answer(verb, answer=True)
    for last_seen in (passing, wanted):
        scene.seen(StateSignal, 91, "a", last_seen)
    scene.seen(Stopped, 91, "a")
    await scene.dobby.answer("state", wanted)
    with pytest.raises(NoSuchContainer, match=f"ended during {verb}"):
        await change


@slow_changes
async def test_the_state_of_another_container_is_no_answer(
    scene: Scene, verb: str, passing: SubState, wanted: SubState
) -> None:
    """The new container has the id and the descriptor of the one that has ended."""
    change = scene.begin(verb)
    await scene.dobby.answer(verb, answer=True)
    for last_seen in (passing, wanted):
        scene.seen(StateSignal, 91, "a", last_seen)
    scene.seen(Stopped, 91, "a")
    scene.seen.run("a", 91)
    await scene.dobby.answer("state", wanted)
    with pytest.raises(NoSuchContainer, match=f"ended during {verb}"):
        await change


@pytest.mark.parametrize(
    ("verb", "passing", "back"),
    [("hibernate", HIBERNATING, RUNNING), ("wakeup", AWAKENING, HIBERNATED)],
)
async def test_a_failure_without_a_signal_is_found_by_looking_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, verb: str, passing: SubState, back: SubState
) -> None:
    monkeypatch.setattr("ocibridge.bridge.transitions.POLL_SECONDS", 0)
    change = scene.begin(verb)
    await scene.dobby.answer(verb, answer=True)
    for _ in range(3):
        await scene.dobby.answer("state", passing)
    await scene.dobby.answer("state", back)
    if verb == "hibernate":  # asked once more: Awoken may come after the change of state
        await scene.dobby.answer("state", back)
    with pytest.raises(DobbyRefused, match=f"accepted {verb}Container"):
        await change


@pytest.mark.parametrize(
    ("verb", "needed", "now"), [("hibernate", RUNNING, PAUSED), ("wakeup", HIBERNATED, RUNNING)]
)
async def test_a_no_to_a_slow_change_is_explained(
    scene: Scene, verb: str, needed: SubState, now: SubState
) -> None:
    change = scene.begin(verb)
    await scene.dobby.answer(verb, answer=False)
    await scene.dobby.answer("state", now)
    with pytest.raises(
        WrongState, match=f"{verb}Container needs it to be {needed}, and it is {now}"
    ):
        await change


@quick_changes
async def test_a_no_to_a_quick_change_is_explained(
    scene: Scene, verb: str, before: SubState, wanted: SubState
) -> None:
    change = scene.begin(verb)
    await scene.dobby.answer(verb, answer=False)
    await scene.dobby.answer("state", wanted)
    await scene.dobby.answer("state", wanted)
    with pytest.raises(
        WrongState, match=f"{verb}Container needs it to be {before}, and it is {wanted}"
    ):
        await change


@quick_changes
async def test_a_yes_is_checked_right_behind_the_request(
    scene: Scene, verb: str, before: SubState, wanted: SubState
) -> None:
    change = scene.begin(verb)
    # Both are sent before either is answered.
    request, check = await scene.dobby.next(verb), await scene.dobby.next("state")
    assert check.fresh
    request.answer.set_result(True)
    check.answer.set_result(wanted)
    await change
    del before


@quick_changes
@pytest.mark.parametrize("then", ["wanted", "before", "invalid", "gone"])
async def test_a_check_that_was_too_early_is_repeated(
    scene: Scene, verb: str, before: SubState, wanted: SubState, then: str
) -> None:
    change = scene.begin(verb)
    await scene.dobby.answer(verb, answer=True)
    await scene.dobby.answer("state", before)
    repeated = {"wanted": wanted, "before": before}.get(then, INVALID)
    assert (await scene.dobby.answer("state", repeated)).fresh
    if repeated is INVALID:
        await scene.dobby.list(*[(91, "a")] * (then == "invalid"))
    if then == "wanted":
        await change
    elif then == "gone":
        with pytest.raises(NoSuchContainer, match=f"ended during {verb}Container"):
            await change
    else:
        with pytest.raises(DobbyRefused, match=f"accepted {verb}Container, but .* is not {wanted}"):
            await change
