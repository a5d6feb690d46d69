# SPDX-License-Identifier: Apache-2.0
"""Hibernations and wakeups that another change overtakes before the state is polled."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.lookup import Lookup
from ocibridge.bridge.transitions import Transitions
from ocibridge.bridge.waiters import StateWaiters
from ocibridge.config.schema import Config, Settings
from ocibridge.errors import DobbyRefused, WrongState
from ocibridge.mirror.observations import StateSeen, StateSignal
from ocibridge.model import SubState
from tests.unit.mirror.test_mirror import Seen, found

Step = Callable[["Scene"], SubState]


class Scene:
    """A Dobby that accepts everything; each GetState performs the next step."""

    def __init__(self, *steps: Step) -> None:
        self.seen = Seen()
        self.seen.run("a", 91)
        self.steps = list(steps)
        self.container = found(self.seen.mirror, "a")
        dobby = cast("DobbyApi", self)
        self.changes = Transitions(
            self.seen.mirror,
            dobby,
            Lookup(self.seen.mirror, dobby, Settings(Config())),
            StateWaiters(self.seen.mirror),
        )

    def hibernate(self, *_: Any) -> "asyncio.Future[bool]":
        return self.answer(True)

    wakeup = hibernate

    def state(self, _descriptor: int, *, fresh: bool = False) -> "asyncio.Future[SubState]":
        assert fresh
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        substate = step(self)
        self.seen(StateSeen, self.seen.mirror.position, 91, substate)
        return self.answer(substate)

    def answer(self, value: Any) -> "asyncio.Future[Any]":
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.set_result(value)
        return answer


def is_now(substate: SubState, *signals: SubState) -> Step:
    """Signals to be sent, and the state that GetState returns after them."""

    def step(scene: Scene) -> SubState:
        for signal in signals:
            scene.seen(StateSignal, 91, "a", signal)
        return substate

    return step


async def test_hibernated_and_woken_at_once_has_been_hibernated() -> None:
    scene = Scene(is_now(SubState.AWAKENING, SubState.HIBERNATED))
    await scene.changes.hibernate(scene.container, "")


async def test_awoken_and_hibernating_again_has_been_woken() -> None:
    scene = Scene(is_now(SubState.HIBERNATING, SubState.RUNNING))
    scene.seen(StateSignal, 91, "a", SubState.HIBERNATED)
    await scene.changes.wakeup(scene.container)


@pytest.mark.parametrize(
    "steps",
    [
        [is_now(SubState.AWAKENING)],
        [is_now(SubState.RUNNING, SubState.RUNNING)],
        [
            is_now(SubState.RUNNING),
            is_now(SubState.RUNNING, SubState.RUNNING),
        ],  # the signal comes after the change of state
    ],
)
async def test_woken_before_it_was_hibernated(steps: list[Step]) -> None:
    scene = Scene(*steps)
    with pytest.raises(WrongState, match="woken"):
        await scene.changes.hibernate(scene.container, "")


async def test_back_to_running_without_a_signal_is_a_failure_of_memcr() -> None:
    scene = Scene(is_now(SubState.RUNNING, SubState.RUNNING))
    scene.seen(StateSignal, 91, "a", SubState.RUNNING)  # an older wakeup
    scene.steps = [is_now(SubState.RUNNING)]
    with pytest.raises(DobbyRefused, match="memcr"):
        await scene.changes.hibernate(scene.container, "")


async def test_a_wakeup_that_leads_back_is_a_failure_of_memcr() -> None:
    scene = Scene(is_now(SubState.HIBERNATED))
    scene.seen(StateSignal, 91, "a", SubState.HIBERNATED)
    with pytest.raises(DobbyRefused, match="memcr"):
        await scene.changes.wakeup(scene.container)
