# SPDX-License-Identifier: Apache-2.0
"""The exit tracker, fed by a mirror as in the daemon: ends that nobody announces, and the last."""

import asyncio
import itertools
import time
from typing import cast

import pytest

from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.exit_tracker import ExitTracker
from ocibridge.bridge.stop import Stopper
from ocibridge.bridge.waiters import StateWaiters
from ocibridge.errors import NoSuchContainer
from ocibridge.mirror.events import Event
from ocibridge.mirror.mirror import Mirror
from ocibridge.mirror.observations import (
    DobbyAppeared,
    EndStatus,
    Listed,
    SnapshotTaken,
    StateSeen,
    Stopped,
)
from ocibridge.model import Caller, SubState
from tests.fake_dobby.clock import Clock
from tests.unit.bridge.test_stop import Accepting
from tests.unit.mirror.test_mirror import Seen, found


class Scene(Seen):
    """A mirror whose events reach the tracker and the waits, and a Dobby with an empty List."""

    def __init__(self) -> None:
        super().__init__(ready=False)
        self.mirror = Mirror(self._emit, itertools.count(1000).__next__)
        self.dobby = Accepting()
        self.dobby.__dict__["refresh"] = self._refresh
        self.waits = StateWaiters(self.mirror)
        self.tracker = ExitTracker(self.mirror, cast("DobbyApi", self.dobby), self.waits)
        for kind in (DobbyAppeared, SnapshotTaken):
            self(kind)

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        self.tracker.on_event(event)
        self.waits.on_event(event)

    async def _refresh(self, *, fresh: bool) -> None:
        assert fresh
        self(Listed, self.mirror.position, ())

    def find_only(self) -> None:
        """A List has the container, and its state is not known yet."""
        self(Listed, self.mirror.position, ((91, "a"),))


@pytest.fixture
async def scene() -> Scene:
    return Scene()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The event loop's, once it is frozen."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def ends(scene: Scene) -> list[str]:
    return [event.__class__.__name__ for event in scene.events if hasattr(event, "exit")]


@pytest.mark.parametrize("signalled", [True, False])
async def test_the_end_of_what_was_never_announced_ends_a_stop_and_a_wait(
    scene: Scene, clock: Clock, signalled: bool
) -> None:
    scene.find_only()
    container = found(scene.mirror, "a")
    stopper = Stopper(scene.mirror, cast("DobbyApi", scene.dobby), scene.tracker)
    with clock.frozen(), scene.waits.enter("a", "Stopped") as wait:
        stop = asyncio.create_task(stopper.stop(container, False, 30, Caller(":1.1")))
        await scene.dobby.asked.wait()
        scene(StateSeen, scene.mirror.position, 91, SubState.INVALID)
        if signalled:
            scene(Stopped, 91, "a")
        else:
            scene(Listed, scene.mirror.position, ())
        await clock.advance(0)  # a check of List has begun its grace period
        await clock.advance(1)
        is_done = stop.done(), wait.reached.done()
        stop.cancel()
        assert is_done == (True, True)
        await stop
        assert wait.reached.result() == "Stopped"
    assert not scene.tracker.is_awaited(container)
    assert ends(scene) == ["UnannouncedEnd"]


async def test_the_end_of_what_was_never_announced_is_not_the_last_exit(scene: Scene) -> None:
    scene.run("a", 91)
    scene(EndStatus, 91, "a", 256)
    scene(Stopped, 91, "a")
    scene.find_only()
    end = scene.tracker.end_of(found(scene.mirror, "a"))
    scene(Listed, scene.mirror.position, ((91, "b"),))  # the descriptor is another one's now
    await asyncio.sleep(0)  # for the shield around it
    assert end.done()
    assert end.result().reason == "lost"
    assert scene.tracker.last_exit("a").wait_status == 256
    with pytest.raises(NoSuchContainer):
        scene.tracker.last_exit("b")


async def test_an_unannounced_end_leaves_no_hold(scene: Scene) -> None:
    scene.find_only()
    end = scene.tracker.end_of(found(scene.mirror, "a"))
    scene(EndStatus, 91, "a", 15)
    scene(Listed, scene.mirror.position, ((91, "b"),))
    await asyncio.sleep(0)
    assert end.done()
    assert end.result().reason == "crashed"
    assert scene.tracker._holds == {}


@pytest.mark.parametrize("leaving", [True, False])
async def test_an_end_after_the_release_of_all_is_not_held(
    scene: Scene, clock: Clock, leaving: bool
) -> None:
    """ocibridge leaves the bus soon, and could not announce it later."""
    scene.run("a", 91)
    with clock.frozen():
        if leaving:
            scene.tracker.release_all()
        scene(EndStatus, 91, "a", 15)
        scene(Stopped, 91, "a")
        await clock.advance(0.01)
        assert ends(scene) == (["ContainerEnded"] if leaving else [])
        await clock.advance(1.5)
        assert ends(scene) == ["ContainerEnded"]
