# SPDX-License-Identifier: Apache-2.0
"""What one caller may have in flight (limits.per_caller), and what is left for others."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from ocibridge.api import admission
from ocibridge.bus.connection import Bus
from ocibridge.config.schema import Limits
from ocibridge.names import INTERFACE, OBJECT_PATH
from tests.bus.conftest import StartBridge, StartDobby
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client


async def test_one_caller_too_many_calls(
    client: Client, address: str, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> None:
    """Calls and waits count.

    Other callers and properties are not affected. The limit ends with them.
    """
    start_dobby()
    await start_bridge(limits=Limits(per_caller=3))
    await client.until_property("DobbyAvailable", wanted=True)
    waits = [
        asyncio.create_task(client.oci("waitForState", "sst", "app", "Running", 0))
        for _ in range(3)
    ]
    await asyncio.sleep(0)  # send them, in one burst with what follows
    for member, arguments in (
        ("listContainers", ("",)),
        ("stopContainer", ("sb", "app", False)),
        ("waitForState", ("sst", "a", "Paused", 0)),
    ):
        name, text = await client.refused(member, *arguments)
        assert name == "LimitsExceeded"
        assert text == (
            f"{member}: 3 calls of yours are under way already (limits.per_caller); await one first"
        )
    assert await client.property("ContainerCount") == 0

    other = Client(await Bus.open(address))
    assert await other.start("app", make_bundle(tmp_path, "sleep")) == 734
    assert await asyncio.gather(*waits) == ["Running"] * 3
    assert await client.oci("listContainers") == [(734, "app")]
    assert (await client.report())["calls"].get("Stop", 0) == 0
    other.bus.close()


async def test_a_reload_changes_it_live(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge
) -> None:
    start_dobby()
    daemon = await start_bridge(limits=Limits(per_caller=1))
    await client.until_property("DobbyAvailable", wanted=True)
    wait = asyncio.create_task(client.oci("waitForState", "sst", "app", "Running", 200_000))
    await asyncio.sleep(0)
    assert (await client.refused("listContainers", ""))[0] == "LimitsExceeded"
    daemon._settings.take(daemon._settings.now.__class__())
    assert await client.oci("listContainers") == []
    await asyncio.wait([wait])
    assert "Timeout" in str(wait.exception())


async def test_a_call_no_longer_counts_when_its_reply_goes_out(
    client: Client,
    start_dobby: StartDobby,
    start_bridge: StartBridge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The caller's share is free before its reply is sent.

    A caller at its limit that sends its next call as soon as it has the reply is not refused.
    """
    start_dobby()
    daemon = await start_bridge(limits=Limits(per_caller=1))
    await client.until_property("DobbyAvailable", wanted=True)
    under_way_at_replies: list[int] = []
    send = daemon._bus.send

    def spy(message: Any, **options: Any) -> None:
        under_way_at_replies.append(len(daemon._dispatcher._admission._by_sender))
        send(message, **options)

    monkeypatch.setattr(daemon._bus, "send", spy)
    for _ in range(3):
        await client.oci("listContainers")
    assert under_way_at_replies == [0, 0, 0]


async def test_a_burst_of_calls_that_take_no_time(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge
) -> None:
    """Calls that finish at once leave the count before the calls over the limit are refused.

    So those calls get replies as well.
    """
    start_dobby()
    daemon = await start_bridge(limits=Limits(per_caller=1))
    await client.until_property("DobbyAvailable", wanted=True)
    refusals = await asyncio.gather(*(client.refused("getLastExit", "s", "app") for _ in range(5)))
    assert [name for name, _ in refusals] == ["NoSuchContainer"] + ["LimitsExceeded"] * 4
    assert daemon._dispatcher._admission._by_sender == {}


async def test_the_waits_of_one_user_are_bounded_over_all_connections(
    address: str, client: Client, start_dobby: StartDobby, start_bridge: StartBridge
) -> None:
    """The limit per connection does not bound a user who opens many.

    A finished wait frees its share.
    """
    start_dobby()
    await start_bridge(limits=Limits(per_user=5))
    await client.until_property("DobbyAvailable", wanted=True)
    others = [Client(await Bus.open(address)) for _ in range(3)]
    waits = [
        asyncio.create_task(other.refused("waitForState", "sst", "never", "Running", 0))
        for other in others
        for _ in range(3)
    ]
    done: set[asyncio.Task[tuple[str, str]]] = set()
    async with asyncio.timeout(15):
        while len(done) < 4:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=15)
    refusals = [task.result() for task in done]
    assert {name for name, _ in refusals} == {"LimitsExceeded"}
    assert refusals[0][1] == (
        f"waitForState: 5 reads and waits of user {os.getuid()} are under way already "
        "(limits.per_user); await one first"
    )
    assert len(done) == 4
    for other in others:
        other.bus.close()
    async with asyncio.timeout(15):  # until ocibridge has noticed that they left
        while (
            "LimitsExceeded"
            in (await client.refused("waitForState", "sst", "never", "Running", 400_000))[0]
        ):
            pass
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


async def test_all_waits_together_are_bounded_and_take_no_other_turn(
    address: str,
    client: Client,
    start_dobby: StartDobby,
    start_bridge: StartBridge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "MAX_UNDER_WAY", 6)
    start_dobby()
    await start_bridge(limits=Limits(per_caller=4))
    await client.until_property("DobbyAvailable", wanted=True)
    others = [Client(await Bus.open(address)) for _ in range(2)]
    waits = [
        asyncio.create_task(other.refused("waitForState", "sst", "never", "Running", 500_000))
        for other in others
        for _ in range(4)
    ]
    await asyncio.sleep(0)
    assert await client.oci("listContainers") == []
    assert (await client.refused("pauseContainer", "s", "no-such"))[0] == "NoSuchContainer"
    refusals = [(name, text) for name, text in await asyncio.gather(*waits) if name != "Timeout"]
    assert (
        refusals
        == [
            (
                "LimitsExceeded",
                "waitForState: too many waits are under way already; try again later",
            )
        ]
        * 2
    )
    for other in others:
        other.bus.close()


async def test_callers_that_have_left_keep_no_places(
    address: str, client: Client, start_dobby: StartDobby, start_bridge: StartBridge
) -> None:
    """A wait of a caller that left before it was identified ends at once, and nothing is kept."""
    start_dobby()
    daemon = await start_bridge()
    await client.until_property("DobbyAvailable", wanted=True)
    kept = []  # python-sdbus stops watching the descriptor, perhaps another's by then, at the end
    for _ in range(5):
        kept.append(gone := await Bus.open(address))
        waits = [
            gone.call(
                "org.rdk.OCIContainer",
                OBJECT_PATH,
                INTERFACE,
                "waitForState",
                "sst",
                f"x{n}",
                "Running",
                0,
            )
            for n in range(60)
        ]
        gone.close()
        assert len(waits) == 60
    admission, callers = daemon._dispatcher._admission, daemon._dispatcher._callers
    async with asyncio.timeout(15):
        while daemon._dispatcher._under_way:
            await client.oci("listContainers")
    assert admission._of_caller == {}
    assert callers._when_known == {}
