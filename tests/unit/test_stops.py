"""Stops that join one another, without a Dobby."""

import asyncio
from typing import Any, cast

import pytest

from ocibridge.ends import Ends
from ocibridge.errors import Timeout
from ocibridge.model import Container
from ocibridge.observations import ContainerEnded, EndCause
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

    def stop(self, _container: Container, _force: bool) -> "asyncio.Future[bool]":
        self.stops += 1
        self.asked.set()
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        answer.set_result(True)
        return answer


async def test_a_joined_stop_has_its_own_time() -> None:
    seen, dobby = Seen(), Accepting()
    seen.run("a", 91)
    container = found(seen.mirror, "a")
    ends = Ends(seen.mirror)
    stops = Stops(cast("Dobby", dobby), ends)
    first = asyncio.create_task(stops.stop(container, False, 0.05))
    second = asyncio.create_task(stops.stop(container, False, 30))
    with pytest.raises(Timeout, match=r"0\.05 s"):
        await first
    assert not second.done()
    ends.ended(ContainerEnded("a", 91, EndCause.STOPPED))
    await second
    assert dobby.stops <= 2


async def test_stops_at_once_are_one_stop() -> None:
    seen, dobby = Seen(), Accepting()
    seen.run("a", 91)
    container = found(seen.mirror, "a")
    ends = Ends(seen.mirror)
    stops = Stops(cast("Dobby", dobby), ends)
    together: list[asyncio.Task[Any]] = [asyncio.create_task(stops.stop(container, False, 30)) for _ in range(5)]
    await dobby.asked.wait()
    assert container.substate == "Stopping"
    ends.ended(ContainerEnded("a", 91, EndCause.STOPPED))
    await asyncio.gather(*together)
    assert (dobby.stops, container.stopping) == (1, 0)
