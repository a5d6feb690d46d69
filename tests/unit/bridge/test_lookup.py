# SPDX-License-Identifier: Apache-2.0
"""Finding containers and explaining refusals, with a Dobby whose answers the test gives."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, cast

import pytest

from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.lookup import Lookup
from ocibridge.config.schema import Config, Settings
from ocibridge.errors import (
    BridgeError,
    DobbyRefused,
    DobbyUnavailable,
    NoSuchContainer,
    Timeout,
    WrongState,
)
from ocibridge.mirror.observations import Listed, Stopped
from ocibridge.model import SubState
from tests.fake_dobby.clock import Clock
from tests.unit.bridge.test_transitions import Questioned
from tests.unit.mirror.test_mirror import Seen, found


class Moody(Questioned):
    """A container that may have ended."""

    gone = False

    def ensure_available(self) -> None:
        if self.gone:
            raise DobbyUnavailable("gone")


class Scene:
    def __init__(self) -> None:
        self.seen = Seen()
        self.seen.run("a", 91)
        self.container = found(self.seen.mirror, "a")
        self.dobby = Moody(self.seen)
        self.find = Lookup(self.seen.mirror, cast("DobbyApi", self.dobby), Settings(Config()))
        self.running: list[asyncio.Task[Any]] = []

    def begin(self, work: "Coroutine[Any, Any, Any]") -> "asyncio.Task[Any]":
        self.running.append(asyncio.create_task(work))
        return self.running[-1]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    for task in scene.running:
        task.cancel()
    await asyncio.gather(*scene.running, return_exceptions=True)


@pytest.mark.parametrize("again", [False, True])
async def test_a_container_that_has_ended_is_not_there(scene: Scene, again: bool) -> None:
    """A new container with the same id is another container."""
    scene.seen(Stopped, 91, "a")
    if again:
        scene.seen.run("a", 91)
    with pytest.raises(NoSuchContainer, match='"a"'):
        await scene.find.resolve(scene.container)


async def test_what_the_mirror_does_not_know_is_asked_of_a_list(scene: Scene) -> None:
    looking = scene.begin(scene.find.resolve("b"))
    call = await scene.dobby.next("refresh")
    scene.seen(Listed, scene.seen.mirror.position, ((91, "a"), (45, "b")))
    call.answer.set_result(())
    assert (await looking).descriptor == 45
    looking = scene.begin(scene.find.resolve("c"))
    await scene.dobby.answer("refresh", ())
    with pytest.raises(NoSuchContainer, match='"c"'):
        await looking


async def test_without_an_answer_in_time_nothing_is_denied(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    with clock.frozen():
        looking = scene.begin(scene.find.look_up("b", 5))
        await scene.dobby.next("refresh")
        await clock.advance(5.1)
        with pytest.raises(Timeout, match='there is a container "b"; Dobby owes no answer'):
            await looking


async def test_an_answer_of_a_dobby_that_has_gone_is_none(scene: Scene) -> None:
    looking = scene.begin(scene.find.resolve("b"))
    call = await scene.dobby.next("refresh")
    scene.dobby.gone = True
    call.answer.set_result(())
    with pytest.raises(DobbyUnavailable):
        await looking
    with pytest.raises(DobbyUnavailable):
        await scene.find.resolve("a")


async def test_a_state_of_0_is_followed_by_a_list_of_its_own(scene: Scene) -> None:
    refreshing = scene.begin(scene.find.refresh_state(scene.container, 30))
    await scene.dobby.answer("state", SubState.INVALID)
    call = await scene.dobby.next("refresh")
    assert call.fresh
    scene.seen(Listed, scene.seen.mirror.position, ((91, "a"),))
    call.answer.set_result(())
    await refreshing
    assert scene.container.substate == "Invalid"


async def test_any_other_state_needs_no_list(scene: Scene) -> None:
    refreshing = scene.begin(scene.find.refresh_state(scene.container, 30))
    await scene.dobby.answer("state", SubState.PAUSED)
    await refreshing
    assert scene.container.substate == "Paused"


@pytest.mark.parametrize(
    ("needed", "state", "there", "error"),
    [
        (SubState.RUNNING, SubState.PAUSED, True, WrongState),
        (SubState.RUNNING, SubState.RUNNING, True, DobbyRefused),
        (None, SubState.PAUSED, True, DobbyRefused),
        (SubState.RUNNING, SubState.INVALID, True, DobbyRefused),
        (SubState.RUNNING, SubState.INVALID, False, NoSuchContainer),
    ],
)
async def test_a_no_is_explained(
    scene: Scene, needed: SubState | None, state: SubState, there: bool, error: type[BridgeError]
) -> None:
    explaining = scene.begin(scene.find.explain(scene.container, "verb", needed, "no reason"))
    await scene.dobby.answer("state", state)
    if state is SubState.INVALID:
        call = await scene.dobby.next("refresh")
        assert call.fresh
        if not there:
            scene.seen(Stopped, 91, "a")
        call.answer.set_result(())
    with pytest.raises(error, match='"a"') as refused:
        await explaining
    assert type(refused.value) is error
