# SPDX-License-Identifier: Apache-2.0
"""The sweep survives a failed pass. A reload of the limits takes effect at once."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ocibridge.config.schema import Duration, Limits, Timeouts
from ocibridge.daemon import Daemon
from ocibridge.dobby import health
from ocibridge.dobby.sweep import Sweep
from tests.bus.conftest import StartBridge, StartDobby
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client
from tests.fake_dobby.processes import Process

SWEEPING = {"sweep_interval": Duration(0.05), "timeouts": Timeouts(call=Duration(0.2))}


@pytest.fixture
async def swept(
    client: Client, dobby_process: Process, start_bridge: StartBridge, tmp_path: Path
) -> Client:
    """A running container, swept every 50 ms."""
    assert dobby_process.child.poll() is None
    await start_bridge(**SWEEPING)
    await client.listen()
    await client.until_property("DobbyAvailable", wanted=True)
    await client.start("app", make_bundle(tmp_path, "sleep"))
    return client


async def test_a_sweep_that_crashes_is_reported_and_the_next_one_sweeps(
    swept: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[Any] = []
    crashed = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(
        lambda _, complaint: complaints.append(complaint)
    )
    once = Sweep._once

    async def crash(_: Sweep) -> None:
        monkeypatch.setattr(Sweep, "_once", once)
        crashed.set()
        raise ZeroDivisionError

    monkeypatch.setattr(Sweep, "_once", crash)
    async with asyncio.timeout(5):
        await crashed.wait()
    await swept.dobby("Pause", "i", 734)
    await swept.until_signal("onContainerStateChanged", "app", "Paused")
    (complaint,) = complaints
    assert isinstance(complaint["exception"], ZeroDivisionError)


@pytest.mark.parametrize("member", ["List", "GetState"])
async def test_one_lost_reply_does_not_end_sweeping(swept: Client, member: str) -> None:
    seen = (await swept.report())["calls"].get(member, 0)
    await swept.control("Loses", "s", member)
    await swept.until_dobby_has(member, seen + 2)
    await swept.dobby("Pause", "i", 734)
    await swept.until_signal("onContainerStateChanged", "app", "Paused")


async def test_a_container_that_stays_invalid_costs_its_readers_no_list_each(
    oci: Client, tmp_path: Path
) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.control("StateBecomes", "si", "app", 0)
    assert await oci.oci("getContainerState", "s", "app") == ("app", "Invalid")
    before = (await oci.report())["calls"]["List"]
    for _ in range(5):
        assert await oci.oci("getContainerState", "s", "app") == ("app", "Invalid")
    assert (
        await asyncio.gather(*(oci.oci("getContainerState", "s", "app") for _ in range(20)))
        == [("app", "Invalid")] * 20
    )
    assert (await oci.report())["calls"]["List"] - before <= 2  # a sweep may have sent one
    await oci.control("StateBecomes", "si", "app", 2)
    assert await oci.oci("getContainerState", "s", "app") == ("app", "Running")


async def test_places_that_a_reload_adds_are_used_at_once(
    client: Client,
    start_dobby: StartDobby,
    start_bridge: StartBridge,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # the reply to a Ping would also send what is queued
    monkeypatch.setattr(health, "ASK_AFTER", 60.0)
    start_dobby()
    daemon: Daemon = await start_bridge(limits=Limits(in_flight=2))
    await client.until_property("DobbyAvailable", wanted=True)
    await client.start("app", make_bundle(tmp_path, "sleep"))
    await client.oci(
        "execCommand", "sss", "app", "", "true"
    )  # Dobby is now known to have the method
    slow = asyncio.create_task(
        client.start("slow", make_bundle(tmp_path, "slow-start", start="3000"))
    )
    await client.until_dobby_has("StartFromBundle", 2)
    execs = [
        asyncio.create_task(client.oci("execCommand", "sss", "app", "", "true")) for _ in range(5)
    ]
    await client.property("Version")  # by now they have arrived
    assert (await client.report())["calls"]["Exec"] == 1
    config = msgspec.structs.replace(daemon._settings.now, limits=Limits(in_flight=32))
    daemon._reload._load = lambda: config
    daemon._reload_configuration()
    assert not slow.done()
    await client.until_dobby_has("Exec", 6)
    assert not slow.done()
    await asyncio.gather(slow, *execs)


async def test_one_place_is_enough_to_find_a_stalled_dobby(
    client: Client,
    dobby_process: Process,
    start_bridge: StartBridge,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(health, "ASK_AFTER", 0.1)
    monkeypatch.setattr(health, "SILENT_SECONDS", 0.6)
    await start_bridge(limits=Limits(in_flight=1))
    await client.until_property("DobbyAvailable", wanted=True)
    await client.start("app", make_bundle(tmp_path, "sleep"))
    with dobby_process.frozen():
        info = asyncio.create_task(client.refused("getContainerInfo", "s", "app"))
        await client.until_property("DobbyStatus", wanted="stalled")
        info.cancel()
    await client.until_property("DobbyStatus", wanted="ready")
    assert (await client.report())["most_open"] <= 2


async def test_a_wait_for_a_missing_container_ends_when_dobby_goes(
    oci: Client, tmp_path: Path
) -> None:
    """No List contains it, and its end is not announced yet. It existed, so it has ended."""
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    wait = asyncio.create_task(oci.oci("waitForState", "sst", "app", "Paused", 60_000_000))
    await oci.oci("listContainers")  # the bus keeps the order of calls of one client
    await oci.control("Vanishes", "s", "app")
    assert await oci.oci("listContainers") == []
    await oci.control("Dies")
    assert await wait == "Stopped"
