# SPDX-License-Identifier: Apache-2.0
"""Transitions that another transition overtakes: the error does not blame the wrong party."""

import asyncio
from pathlib import Path

import pytest

from ocibridge.config.schema import Duration, Timeouts
from tests.bus.conftest import StartBridge, StartDobby
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client


@pytest.fixture
async def hibernating(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> Client:
    """A container, and a Dobby that supports hibernation."""
    start_dobby(hibernation=True)
    await start_bridge(timeouts=Timeouts(hibernate=Duration(2)))
    await client.listen()
    await client.until_property("DobbyAvailable", wanted=True)
    await client.start("app", make_bundle(tmp_path, "sleep"))
    return client


@pytest.mark.parametrize("by", ["us", "another client"])
async def test_a_hibernation_overtaken_by_a_wakeup_does_not_blame_memcr(
    hibernating: Client, by: str
) -> None:
    hibernate = asyncio.create_task(hibernating.refused("hibernateContainer", "ss", "app", ""))
    await hibernating.until_dobby_has("Hibernate")
    if by == "us":
        await hibernating.oci("wakeupContainer", "s", "app")
    else:
        assert await hibernating.dobby("Wakeup", "i", 734) == (True,)
    name, said = await hibernate
    assert (name, "memcr" in said, "woken" in said) == ("WrongState", False, True), said


async def test_a_wakeup_before_the_next_look_does_not_blame_memcr(hibernating: Client) -> None:
    """Only the Awoken signal is seen."""
    hibernate = asyncio.create_task(hibernating.refused("hibernateContainer", "ss", "app", ""))
    await hibernating.until(
        lambda: any(
            m == "PropertiesChanged" and b[1].get("SubState") == ("s", "Hibernating")
            for m, b in hibernating.signals
        )
    )
    await hibernating.control("StateBecomes", "si", "app", 2)
    await hibernating.control("Says", "sss", "Awoken", "is", '[734, "app"]')
    name, said = await hibernate
    assert (name, "memcr" in said, "woken" in said) == ("WrongState", False, True), said
