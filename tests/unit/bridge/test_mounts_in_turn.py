# SPDX-License-Identifier: Apache-2.0
"""Dobby is asked for one mount at a time, after the check of it."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.lookup import Lookup
from ocibridge.bridge.mounts import Mounts
from ocibridge.errors import DobbyRefused, NoSuchContainer, Timeout
from ocibridge.model import Container
from tests.unit.bridge.test_mounts import Machine


@pytest.fixture(params=["tmp", "var/volatile/tmp"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


class OneDobby:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, asyncio.Future[Any]]] = []
        self._news = asyncio.Event()
        self.has_ended = False

    def present(self, container: Container, _: str) -> Container:
        if self.has_ended:
            raise NoSuchContainer("it has ended")
        return container

    def mount(self, _container: Container, source: str, *_: Any) -> asyncio.Future[bool]:
        return self._ask(f"mount {source}")

    def refresh(self, *, fresh: bool) -> asyncio.Future[Any]:
        return self._ask(f"list {fresh}")

    def _ask(self, what: str) -> asyncio.Future[Any]:
        self.asked.append((what, asyncio.get_running_loop().create_future()))
        self._news.set()
        return self.asked[-1][1]

    async def until_asked(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.asked) < count:
                self._news.clear()
                await self._news.wait()


@pytest.fixture
def dobby() -> OneDobby:
    return OneDobby()


def mounting(dobby: OneDobby, machine: Machine) -> Mounts:
    return Mounts(cast("Lookup", dobby), cast("DobbyApi", dobby), machine.host)


async def test_a_mount_is_checked_when_the_one_before_it_is_over(
    machine: Machine, dobby: OneDobby
) -> None:
    through, source = mounting(dobby, machine), str(machine.root / "srv/data")
    first, second = (
        asyncio.create_task(through.mount(Container("a", 1), source, "/x", ["bind"], ""))
        for _ in range(2)
    )
    await dobby.until_asked(1)
    machine.mounted(f"{machine.tmp_point}/.hostmnttunnel-a/tmpdir")
    dobby.asked[0][1].set_result(True)
    assert await first is True
    with pytest.raises(DobbyRefused, match="earlier mount"):
        await second
    assert [what for what, _ in dobby.asked] == [f"mount {source}"]


async def test_a_container_that_ends_while_the_source_is_looked_at(
    machine: Machine, dobby: OneDobby
) -> None:
    """Its descriptor may be another container's by now."""
    dobby.has_ended = True
    with pytest.raises(NoSuchContainer):
        await mounting(dobby, machine).mount(
            Container("a", 1), str(machine.root / "srv/data"), "/x", ["bind"], ""
        )
    assert dobby.asked == []


@pytest.mark.parametrize("how", ["timed out", "given up"])
async def test_a_mount_without_an_answer_is_waited_for_by_the_next(
    machine: Machine, dobby: OneDobby, how: str
) -> None:
    through, source = mounting(dobby, machine), str(machine.root / "srv/data")
    first = asyncio.create_task(through.mount(Container("a", 1), source, "/x", ["bind"], ""))
    await dobby.until_asked(1)
    if how == "timed out":
        dobby.asked[0][1].set_exception(Timeout("no answer"))
    else:
        first.cancel()
    await asyncio.wait([first])
    second = asyncio.create_task(through.mount(Container("a", 1), source, "/y", ["bind"], ""))
    await dobby.until_asked(2)
    assert dobby.asked[1][0] == "list True"
    dobby.asked[1][1].set_result(None)
    await dobby.until_asked(3)
    dobby.asked[2][1].set_result(False)
    assert await second is False
    assert [what.split()[0] for what, _ in dobby.asked] == ["mount", "list", "mount"]
