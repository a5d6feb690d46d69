# SPDX-License-Identifier: Apache-2.0
"""Stops that Dobby refuses because another stop of the same container was accepted."""

import asyncio
from typing import cast

import pytest

from ocibridge.bridge import stop as stops
from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.exit_tracker import ExitTracker
from ocibridge.bridge.stop import Stopper
from ocibridge.bridge.waiters import StateWaiters
from ocibridge.errors import DobbyRefused, Timeout, WrongState
from ocibridge.mirror.observations import StateSeen, Stopped
from ocibridge.model import Caller, Container, SubState
from tests.unit.mirror.test_mirror import Seen, found


class Refusing:
    """Answers the stops one after the other; GetState is always `substate`."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.substate = SubState.RUNNING
        self.refused = asyncio.Event()

    def pending_summary(self) -> str:
        return "Dobby owes no answer"

    def stop(self, _container: Container, _force: bool, _seconds: float) -> "asyncio.Future[bool]":
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        answer.set_result(self.answers.pop(0))
        if not self.answers:
            self.refused.set()
        return answer

    def state(self, _descriptor: int, *, fresh: bool = False) -> "asyncio.Future[SubState]":
        del fresh
        answer: asyncio.Future[SubState] = asyncio.get_running_loop().create_future()
        answer.set_result(self.substate)
        return answer


class Scene:
    """A running container whose stops Dobby answers as given."""

    def __init__(self, *answers: bool) -> None:
        self.seen, self.dobby = Seen(), Refusing(*answers)
        self.seen.run("a", 91)
        dobby, mirror = cast("DobbyApi", self.dobby), self.seen.mirror
        self.exit_tracker = ExitTracker(mirror, dobby, StateWaiters(mirror))
        self.container = found(self.seen.mirror, "a")
        self.stops = Stopper(mirror, dobby, self.exit_tracker)

    def stop(self, force: bool, seconds: float = 30) -> "asyncio.Task[None]":
        return asyncio.create_task(self.stops.stop(self.container, force, seconds, Caller(":1.1")))

    def end(self) -> None:
        self.seen(Stopped, 91, "a")
        self.exit_tracker.on_event(self.seen.last())


async def test_graceful_and_forced_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stops, "DYING_SECONDS", 0.0)
    scene = Scene(True, False)
    graceful, forced = scene.stop(False), scene.stop(True)
    await scene.dobby.refused.wait()
    await asyncio.sleep(0.05)
    assert not forced.done()
    scene.end()
    await asyncio.gather(graceful, forced)


async def test_forced_and_graceful_of_a_paused_one() -> None:
    scene = Scene(True, True)
    scene.seen(StateSeen, scene.seen.mirror.position, 91, SubState.PAUSED)
    scene.dobby.substate = SubState.PAUSED
    scene.dobby.answers = [True, False]
    forced = scene.stop(True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    graceful = asyncio.create_task(
        scene.stops._stop(
            scene.container, False, 30, Caller(":1.2"), scene.exit_tracker.end_of(scene.container)
        )
    )
    await scene.dobby.refused.wait()
    await asyncio.sleep(0.05)
    assert not graceful.done()
    scene.end()
    await asyncio.gather(graceful, forced)


async def test_what_another_client_of_dobby_has_stopped() -> None:
    scene = Scene(False)
    stop = scene.stop(False)
    await scene.dobby.refused.wait()
    await asyncio.sleep(0.05)
    assert not stop.done()
    scene.end()
    await stop


async def test_a_refusal_that_nothing_explains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stops, "DYING_SECONDS", 0.05)
    scene = Scene(False)
    with pytest.raises(DobbyRefused, match="refused to stop"):
        await scene.stop(True)
    assert scene.container.stops == []


async def test_a_paused_one_that_nobody_stops() -> None:
    scene = Scene(False)
    scene.seen(StateSeen, scene.seen.mirror.position, 91, SubState.PAUSED)
    scene.dobby.substate = SubState.PAUSED
    with pytest.raises(WrongState, match="force"):
        await scene.stop(False)


async def test_an_accepted_stop_that_takes_too_long() -> None:
    scene = Scene(True, False)
    graceful, forced = scene.stop(False, 0.1), scene.stop(True, 0.05)
    for stop in (forced, graceful):
        with pytest.raises(Timeout):
            await stop
