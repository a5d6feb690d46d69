# SPDX-License-Identifier: Apache-2.0
"""The sweep, on a clock that the test moves: what it asks, how often, and when it waits."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import pytest

from ocibridge.config.schema import Config, Duration, Settings
from ocibridge.dobby.client import DobbyClient
from ocibridge.dobby.sweep import MAX_INTERVALS, Sweep
from ocibridge.dobby.transport import Transport
from ocibridge.errors import BridgeError, DobbyUnavailable
from ocibridge.mirror.observations import Listed, StateSeen
from ocibridge.model import SubState
from tests.fake_dobby.clock import Clock
from tests.unit.mirror.test_mirror import Seen

INTERVAL = 10.0


class Answering:
    """A Dobby that answers at once, and what it was asked."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.idle = asyncio.Event()
        self.idle.set()
        self.asked: list[Any] = []
        self.states: dict[int, SubState] = {}
        self.error: BridgeError | None = None

    def _answer(self, value: Any) -> "asyncio.Future[Any]":
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.error is None:
            answer.set_result(value)
        else:
            answer.set_exception(self.error)
        return answer

    def refresh(self, *, fresh: bool = False) -> "asyncio.Future[Any]":
        self.asked.append("fresh List" if fresh else "List")
        if self.error is None:
            self.seen(Listed, self.seen.mirror.position, ((91, "a"), (45, "b")))
        return self._answer(None)

    def state(self, descriptor: int, *, fresh: bool = False) -> "asyncio.Future[SubState]":
        del fresh
        self.asked.append(descriptor)
        self.seen(
            StateSeen,
            self.seen.mirror.position,
            descriptor,
            self.states.get(descriptor, SubState.RUNNING),
        )
        return self._answer(self.states.get(descriptor, SubState.RUNNING))

    def taken(self) -> list[Any]:
        """What it was asked since the last time."""
        asked, self.asked = self.asked, []
        return asked


class Scene:
    """Two containers, and a sweep that has begun at a moment at which the clock stands still."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        seen = Seen()
        self.dobby = Answering(seen)
        seen.run("a", 91)
        seen.run("b", 45)
        self.settings = Settings(
            msgspec.structs.replace(Config(), sweep_interval=Duration(INTERVAL))
        )
        self.sweep = Sweep(
            seen.mirror,
            cast("Transport", self.dobby),
            cast("DobbyClient", self.dobby),
            self.settings,
        )

    async def later(self, seconds: float) -> list[Any]:
        """What Dobby is asked in that time."""
        await self.clock.advance(seconds)
        return self.dobby.taken()


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    with clock.frozen():
        scene = Scene(clock)
        scene.sweep.begin()
        await clock.advance(0)
        yield scene
        scene.sweep.end()
        await clock.advance(0)


async def test_all_is_asked_once_an_interval(scene: Scene) -> None:
    for _ in range(3):
        assert await scene.later(INTERVAL - 0.1) == []
        assert await scene.later(0.2) == ["List", 91, 45]


async def test_a_state_of_0_is_followed_by_a_list(scene: Scene) -> None:
    """Only a later List tells Invalid from an end in progress."""
    for descriptor in (91, 45):
        scene.dobby.states = {descriptor: SubState.INVALID}
        assert await scene.later(INTERVAL + 0.1) == ["List", 91, 45, "fresh List"]
        scene.dobby.states = {}
        assert await scene.later(INTERVAL + 0.1) == ["List", 91, 45]


async def test_an_error_does_not_end_it(scene: Scene) -> None:
    scene.dobby.error = DobbyUnavailable("Dobby is not on the bus")
    for _ in range(3):
        assert await scene.later(INTERVAL + 0.1) == ["List"]
    scene.dobby.error = None
    assert await scene.later(INTERVAL + 0.1) == ["List", 91, 45]


async def test_it_is_put_off_while_dobby_is_busy(scene: Scene) -> None:
    scene.dobby.idle.clear()
    for _ in range(3):
        assert await scene.later(INTERVAL + 0.1) == []
    scene.dobby.idle.set()
    assert await scene.later(0) == ["List", 91, 45]


async def test_it_is_not_put_off_for_ever(scene: Scene) -> None:
    scene.dobby.idle.clear()
    asked: list[list[Any]] = [await scene.later(INTERVAL + 0.01) for _ in range(MAX_INTERVALS + 1)]
    assert asked[: MAX_INTERVALS - 1] == [[]] * (MAX_INTERVALS - 1)
    assert asked.count(["List", 91, 45]) == 1


async def test_begun_anew_it_has_the_new_interval_alone(scene: Scene) -> None:
    scene.settings.take(msgspec.structs.replace(Config(), sweep_interval=Duration(3 * INTERVAL)))
    scene.sweep.begin()
    await scene.later(0)
    assert await scene.later(3 * INTERVAL - 0.1) == []
    assert await scene.later(0.2) == ["List", 91, 45]


async def test_ended_it_asks_nothing(scene: Scene) -> None:
    await scene.later(INTERVAL / 2)
    scene.sweep.end()
    for _ in range(3):
        assert await scene.later(INTERVAL) == []
