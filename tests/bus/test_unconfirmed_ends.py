# SPDX-License-Identifier: Apache-2.0
"""Ends that Dobby does not report or may take back, checked without the help of a sweep."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ocibridge.config.schema import Duration
from ocibridge.dobby.client import DobbyClient
from tests.bus.conftest import StartBridge, StartDobby
from tests.fake_dobby.bundles import RESTARTING_SPEC, make_bundle
from tests.fake_dobby.client import Client


@pytest.fixture
async def unswept(client: Client, start_dobby: StartDobby, start_bridge: StartBridge) -> Client:
    """A client of an ocibridge that does not sweep during the test."""
    start_dobby()
    await start_bridge(sweep_interval=Duration(3600))
    await client.listen()
    await client.until_property("DobbyAvailable", wanted=True)
    return client


async def test_a_silent_absence_is_checked_once_however_many_lists_show_it(
    unswept: Client, tmp_path: Path
) -> None:
    await unswept.start("app", make_bundle(tmp_path, "sleep"))
    await unswept.control("Vanishes", "s", "app")
    before = (await unswept.report())["calls"]["List"]
    for _ in range(3):  # while the Stopped signal may still be on its way
        assert await unswept.oci("listContainers") == []
    await unswept.until_signal("onContainerStopped", 734, "app")
    for _ in range(20):  # give further calls, if any, time to arrive
        assert (await unswept.report())["calls"]["List"] == before + 3 + 1
    assert len(unswept.heard("onContainerStopped")) == 1


async def test_an_end_that_follows_a_restart_is_checked_by_itself(
    unswept: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The List that was sent because of the restart says nothing about the end that follows."""
    lists: asyncio.Queue[None] = asyncio.Queue()
    listing = DobbyClient.refresh

    def spy(calls: DobbyClient, *, fresh: bool = False) -> "asyncio.Future[Any]":
        lists.put_nowait(None)
        return listing(calls, fresh=fresh)

    await unswept.oci("startContainerFromDobbySpec", "sss", "app", RESTARTING_SPEC, "")
    slow = asyncio.create_task(
        unswept.start("slow", make_bundle(tmp_path, "slow-start", start="1500"))
    )
    await unswept.until_dobby_has("StartFromBundle")
    monkeypatch.setattr(DobbyClient, "refresh", spy)
    await unswept.control("Exits", "si", "app", 1280)
    async with asyncio.timeout(15):
        await lists.get()  # sent, and queued behind the slow start
    await unswept.control("Exits", "si", "app", 0)
    await unswept.until_signal("onContainerStopped", 734, "app")
    await slow
    assert len(unswept.heard("onContainerStopped")) == 1
