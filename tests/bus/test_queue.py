# SPDX-License-Identifier: Apache-2.0
"""Calls that Dobby has not received, will never receive, or received before it died.

What happens to them, and which error their callers get.
"""

import asyncio
from pathlib import Path

from ocibridge.config.schema import Duration, Limits, Timeouts
from tests.bus.conftest import StartBridge, StartDobby
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client


async def test_a_call_that_was_given_up_before_its_turn_never_goes_out(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> None:
    """One place besides Ping's. The start takes it, and the stop is given up before it was sent."""
    start_dobby()
    await start_bridge(limits=Limits(in_flight=2), timeouts=Timeouts(stop=Duration(0.2)))
    await client.until_property("DobbyAvailable", wanted=True)
    await client.start("app", make_bundle(tmp_path, "sleep"))
    slow = asyncio.create_task(
        client.start("slow", make_bundle(tmp_path, "slow-start", start="1500"))
    )
    await client.until_dobby_has("StartFromBundle", 2)
    name, said = await client.refused("stopContainer", "sb", "app", True)
    assert (name, "never will be" in said, 'StartFromBundle of "slow"' in said) == (
        "Timeout",
        True,
        True,
    ), said
    assert await slow == 879
    assert await client.oci("getContainerState", "s", "app") == (
        "app",
        "Running",
    )  # after all that was queued
    assert (await client.report())["calls"].get("Stop", 0) == 0


async def test_a_method_that_dobby_lacks_is_not_called_again(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge
) -> None:
    """Each attempt would cost Dobby a reply slot. The next Dobby process may have the method."""
    dobby = start_dobby(legacy=False)
    await start_bridge()
    await client.until_property("DobbyAvailable", wanted=True)
    for _ in range(3):
        assert (await client.refused("startContainerFromDobbySpec", "sss", "x", "{}", ""))[
            0
        ] == "NotSupported"
    assert (await client.report())["leaked"] == 1
    dobby.kill()
    await client.until_property("DobbyAvailable", wanted=False)
    start_dobby()
    await client.until_property("DobbyAvailable", wanted=True)
    assert (await client.refused("startContainerFromDobbySpec", "sss", "x", "{}", ""))[
        0
    ] == "DobbyRefused"


async def test_a_call_in_flight_when_dobby_died_may_have_had_its_effect(
    oci: Client, tmp_path: Path
) -> None:
    slow = str(make_bundle(tmp_path, "slow-start", start="60000"))
    start = asyncio.create_task(oci.refused("startContainer", "ssssas", "slow", slow, "", "", []))
    await oci.until_dobby_has("StartFromBundle")
    await oci.control("Dies")
    name, said = await start
    assert (name, "before it answered; whether it has happened is not known" in said) == (
        "DobbyUnavailable",
        True,
    ), said
