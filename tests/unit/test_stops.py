"""Stops that join one another, without a Dobby."""

import asyncio
from dataclasses import dataclass
from typing import cast

import pytest

from ocibridge.ends import Ends
from ocibridge.errors import Timeout
from ocibridge.model import Caller, Container
from ocibridge.observations import Stopped
from ocibridge.port import Dobby
from ocibridge.stops import Stops
from tests.unit.test_mirror import Seen, found


class Accepting:
    """Says yes to each stop, and counts them."""

    def __init__(self) -> None:
        self.stops = 0
        self.asked = asyncio.Event()

    def busy_with(self) -> str:
        return "Dobby owes no answer"

    def stop(self, _container: Container, _force: bool, _seconds: float) -> "asyncio.Future[bool]":
        self.stops += 1
        self.asked.set()
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        answer.set_result(True)
        return answer


@dataclass
class Scene:
    """A running container, and stops of it."""

    seen: Seen
    dobby: Accepting
    ends: Ends
    container: Container
    stops: Stops

    def stop(self, seconds: float) -> "asyncio.Task[None]":
        return asyncio.create_task(self.stops.stop(self.container, False, seconds, Caller(":1.1")))

    def end(self) -> None:
        self.seen(Stopped, 91, "a")
        self.ends.ended(self.seen.last())


@pytest.fixture
async def scene() -> Scene:
    seen, dobby = Seen(), Accepting()
    seen.run("a", 91)
    ends = Ends(seen.mirror)
    return Scene(seen, dobby, ends, found(seen.mirror, "a"), Stops(seen.mirror, cast("Dobby", dobby), ends))


async def test_a_joined_stop_has_its_own_time(scene: Scene) -> None:
    first, second = scene.stop(0.05), scene.stop(30)
    with pytest.raises(Timeout, match=r"0\.05 s"):
        await first
    assert not second.done()
    scene.end()
    await second


async def test_stops_at_once_are_one_stop(scene: Scene) -> None:
    together = [scene.stop(30) for _ in range(5)]
    await scene.dobby.asked.wait()
    assert scene.container.substate == "Stopping"
    scene.end()
    await asyncio.gather(*together)
    assert scene.dobby.stops == 1
    assert not any(stop.under_way for stop in scene.container.stops)


async def test_what_has_ended_meanwhile_is_not_asked_to_stop(scene: Scene) -> None:
    """Its descriptor may be another container's by the time that the request would go out."""
    stop = scene.stop(30)
    await asyncio.sleep(0)  # it waits for the end already, and has not asked yet
    assert scene.dobby.stops == 0
    scene.end()
    await stop
    assert scene.dobby.stops == 0
