# SPDX-License-Identifier: Apache-2.0
"""Stops that join one another, without Dobby."""

import asyncio
import time
from dataclasses import dataclass
from typing import cast

import pytest

from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.exit_tracker import ExitTracker
from ocibridge.bridge.stop import Stopper
from ocibridge.bridge.waiters import StateWaiters
from ocibridge.errors import BridgeError, DobbyRefused, NeverSent, Timeout
from ocibridge.mirror.observations import Stopped
from ocibridge.model import Caller, Container
from tests.fake_dobby.clock import Clock
from tests.unit.mirror.test_mirror import Seen, found


class Accepting:
    """A Dobby that accepts each stop and records whether it had force."""

    def __init__(self) -> None:
        self.forces: list[bool] = []
        self.asked = asyncio.Event()
        self.error: BridgeError | None = None  # the answer instead of True

    @property
    def stops(self) -> int:
        return len(self.forces)

    def pending_summary(self) -> str:
        return "Dobby owes no answer"

    def stop(self, _container: Container, force: bool, _seconds: float) -> "asyncio.Future[bool]":
        self.forces.append(force)
        self.asked.set()
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self.error is None:
            answer.set_result(True)
        else:
            answer.set_exception(self.error)
        return answer


@dataclass
class Scene:
    """A running container and its stops."""

    seen: Seen
    dobby: Accepting
    exit_tracker: ExitTracker
    container: Container
    stops: Stopper

    def stop(self, seconds: float, *, force: bool = False) -> "asyncio.Task[None]":
        return asyncio.create_task(self.stops.stop(self.container, force, seconds, Caller(":1.1")))

    async def until_asked(self) -> None:
        """Wait until Dobby has been asked to stop it."""
        async with asyncio.timeout(10):
            await self.dobby.asked.wait()
        self.dobby.asked.clear()

    def end(self) -> None:
        self.seen(Stopped, 91, "a")
        self.exit_tracker.on_event(self.seen.last())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the event loop, once it is frozen."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
async def scene() -> Scene:
    seen, dobby = Seen(), Accepting()
    seen.run("a", 91)
    api = cast("DobbyApi", dobby)
    exit_tracker = ExitTracker(seen.mirror, api, StateWaiters(seen.mirror))
    return Scene(
        seen,
        dobby,
        exit_tracker,
        found(seen.mirror, "a"),
        Stopper(seen.mirror, api, exit_tracker),
    )


async def test_a_joined_stop_has_its_own_time(scene: Scene, clock: Clock) -> None:
    with clock.frozen():
        first, second = scene.stop(5), scene.stop(30)
        await scene.until_asked()
        await clock.advance(4.9)
        assert not first.done()
        await clock.advance(0.2)
        with pytest.raises(Timeout, match="has not ended within 5 s"):
            await first
        await scene.until_asked()  # the second one asks after the first has timed out
        await clock.advance(24.8)
        assert not second.done()
        scene.end()
        await second
    assert scene.dobby.forces == [False, False]


async def test_a_joined_stop_waits_no_longer_than_its_own_time(scene: Scene, clock: Clock) -> None:
    with clock.frozen():
        first, second = scene.stop(5), scene.stop(30)
        await scene.until_asked()
        await clock.advance(5.1)
        with pytest.raises(Timeout):
            await first
        await clock.advance(25)
        with pytest.raises(Timeout, match="it may still do so"):
            await second
    assert scene.dobby.forces == [False, False]
    assert not any(stop.under_way for stop in scene.container.stops)


async def test_stops_whose_time_is_over_together_ask_once(scene: Scene, clock: Clock) -> None:
    with clock.frozen():
        together = [scene.stop(5) for _ in range(3)]
        await scene.until_asked()
        await clock.advance(5.1)
        assert [
            type(outcome) for outcome in await asyncio.gather(*together, return_exceptions=True)
        ] == [Timeout] * 3
    assert scene.dobby.forces == [False]


async def test_stops_at_once_are_one_stop(scene: Scene) -> None:
    together = [scene.stop(30) for _ in range(5)]
    await scene.until_asked()
    assert scene.container.substate == "Stopping"
    scene.end()
    await asyncio.gather(*together)
    assert scene.dobby.stops == 1
    assert not any(stop.under_way for stop in scene.container.stops)


@pytest.mark.parametrize("container_ref", [0, 1])
async def test_who_gives_up_ends_no_other_stop(scene: Scene, container_ref: int) -> None:
    together = [scene.stop(30), scene.stop(30)]
    await scene.until_asked()
    leaving, staying = together[container_ref], together[1 - container_ref]
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert scene.container.substate == "Stopping"
    scene.end()
    await staying
    assert leaving.cancelled()
    assert scene.dobby.forces == [False]


async def test_a_stop_without_force_joins_one_with_force(scene: Scene) -> None:
    """Dobby refuses a second stop of a container that is ending."""
    forced = scene.stop(30, force=True)
    await scene.until_asked()
    gentle = [scene.stop(30) for _ in range(3)]
    for _ in range(10):
        await asyncio.sleep(0)  # each could have asked Dobby by now
    assert scene.dobby.forces == [True]
    scene.end()
    await asyncio.gather(forced, *gentle)
    assert scene.dobby.forces == [True]


async def test_a_stop_with_force_joins_none_without(scene: Scene) -> None:
    """A stop without force can take 0.6 s, or fail."""
    gentle = scene.stop(30)
    await scene.until_asked()
    forced = [scene.stop(30, force=True) for _ in range(3)]
    await scene.until_asked()
    assert scene.dobby.forces == [False, True]
    scene.end()
    await asyncio.gather(gentle, *forced)
    assert scene.dobby.forces == [False, True]


async def test_a_stop_whose_time_is_over_is_the_reason_of_a_later_end(
    scene: Scene, clock: Clock
) -> None:
    with clock.frozen():
        stop = scene.stop(5)
        await scene.until_asked()
        await clock.advance(5.1)
        with pytest.raises(Timeout):
            await stop
    assert scene.container.substate == "Running"
    scene.end()
    ended = scene.seen.last()
    assert (ended.exit.reason, ended.exit.requested_by.sender) == ("requested", ":1.1")


@pytest.mark.parametrize(
    ("error", "reason"), [(NeverSent, "exited"), (DobbyRefused, "exited"), (Timeout, "requested")]
)
async def test_what_dobby_never_saw_or_refused_is_no_reason_of_a_later_end(
    scene: Scene, error: type[BridgeError], reason: str
) -> None:
    """After a Timeout, Dobby may have stopped it all the same."""
    scene.dobby.error = error("as the client says")
    with pytest.raises(error):
        await scene.stop(30)
    assert scene.container.substate == "Running"
    scene.end()
    assert scene.seen.last().exit.reason == reason


async def test_what_has_ended_meanwhile_is_not_asked_to_stop(scene: Scene) -> None:
    """Its descriptor may have been reused when the request would be sent."""
    stop = scene.stop(30)
    await asyncio.sleep(0)  # it awaits the end, but has not asked Dobby yet
    assert scene.dobby.stops == 0
    scene.end()
    await stop
    assert scene.dobby.stops == 0
