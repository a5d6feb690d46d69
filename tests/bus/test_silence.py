# SPDX-License-Identifier: Apache-2.0
"""Ping distinguishes a busy Dobby from a stalled one, however slow the machine is."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ocibridge.dobby.health import ASK_AFTER, INTERVAL, SILENT_SECONDS, WORKLESS_SECONDS
from tests.bus.conftest import StartBridge, StartDobby
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client
from tests.fake_dobby.clock import Clock
from tests.fake_dobby.processes import Process


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replaces time.monotonic. ocibridge must be started after this."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
async def dobby(start_dobby: StartDobby) -> Process:
    return start_dobby()


@pytest.fixture
async def starting(
    clock: Clock, dobby: Process, client: Client, start_bridge: StartBridge, tmp_path: Path
) -> AsyncIterator[Client]:
    """A client of ocibridge while a start that does not end blocks Dobby."""
    assert dobby.child.poll() is None
    await start_bridge()
    await client.listen()
    await client.until_property("DobbyAvailable", wanted=True)
    slow = make_bundle(tmp_path, "slow-start", start="600000")
    with clock.frozen():
        start = asyncio.create_task(client.start("slow", slow))
        await client.until_dobby_has("StartFromBundle")
        yield client
    dobby.kill()
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)


async def pass_time(client: Client, clock: Clock, seconds: float) -> None:
    """Let time pass, with a Dobby that answers each Ping at once."""
    for _ in range(round(seconds / INTERVAL)):
        await clock.advance(INTERVAL)
        await client.report()  # queued behind the Ping sent just now,
        await client.property("DobbyStatus")  # whose reply therefore precedes this one


async def pings(client: Client) -> int:
    count: int = (await client.report())["calls"].get("Ping", 0)
    return count


async def test_a_dobby_that_answers_ping_is_busy_and_only_for_so_long(
    starting: Client, clock: Clock
) -> None:
    await pass_time(starting, clock, WORKLESS_SECONDS - 1)
    assert await starting.property("DobbyStatus") == "ready"
    assert await pings(starting) >= WORKLESS_SECONDS / 2 - 2
    await pass_time(starting, clock, 2)
    assert await starting.property("DobbyStatus") == "stalled"


async def test_an_answered_ping_ends_the_silence(
    starting: Client, clock: Clock, dobby: Process
) -> None:
    """After many answered Pings, one late answer is no stall."""
    await pass_time(starting, clock, 2 * SILENT_SECONDS)
    before = await pings(starting)
    with dobby.frozen():
        for _ in range(round((SILENT_SECONDS - ASK_AFTER) / INTERVAL) - 1):
            await clock.advance(INTERVAL)
            assert await starting.property("DobbyStatus") == "ready"
    await pass_time(starting, clock, SILENT_SECONDS)
    assert await starting.property("DobbyStatus") == "ready"
    assert await pings(starting) > before


async def test_a_ping_that_is_not_answered_is_a_stall(
    starting: Client, clock: Clock, dobby: Process
) -> None:
    await pass_time(starting, clock, 2 * SILENT_SECONDS)
    with dobby.frozen():
        for _ in range(round(SILENT_SECONDS / INTERVAL) + 2):
            await clock.advance(INTERVAL)
        assert await starting.property("DobbyStatus") == "stalled"
    # The Ping is answered later. But ready needs an answered List, which the start still blocks.
    assert await starting.property("DobbyStatus") == "stalled"
