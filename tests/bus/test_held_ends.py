# SPDX-License-Identifier: Apache-2.0
"""Ends by SIGTERM or SIGKILL that no caller requested.

They are held back for a moment, since Dobby itself may be shutting down.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ocibridge.names import INTERFACE
from tests.bus.conftest import StartBridge, StartDobby
from tests.fake_dobby.bundles import RESTARTING_SPEC, make_bundle
from tests.fake_dobby.client import Client
from tests.fake_dobby.processes import Process

MINUTE = 60_000_000


def reported(client: Client) -> list[tuple[Any, ...]]:
    """The reported ends and changes of DobbyAvailable, in order."""
    lines: list[tuple[Any, ...]] = []
    for member, body in client.signals:
        if member == "PropertiesChanged" and body[0] == INTERFACE and "DobbyAvailable" in body[1]:
            lines.append(("DobbyAvailable", body[1]["DobbyAvailable"][1]))
        elif member == "onContainerFailed":
            lines.append(("failed", body[1], body[2]))
        elif member == "containerExited":
            lines.append(("exited", body[0], body[2]["Reason"][1], body[2]["WaitStatus"][1]))
    return lines


async def test_a_restart_of_dobby_by_systemd_is_no_crash_of_its_containers(
    app: Client, start_dobby: StartDobby, tmp_path: Path
) -> None:
    await app.start("bundle", make_bundle(tmp_path, "other"))
    await app.oci("startContainerFromDobbySpec", "sss", "spec", RESTARTING_SPEC, "")
    app.signals.clear()
    await app.control("StoppedBySystemd", "i", 200)
    await app.until_heard(3, "onContainerStopped")
    assert reported(app) == [
        ("DobbyAvailable", False),
        *[
            line
            for name in ("app", "bundle", "spec")
            for line in (("failed", name, 4), ("exited", name, "dobby-gone", 15))
        ],
    ]
    start_dobby()
    await app.until_property("DobbyAvailable", wanted=True)
    assert (await app.oci("getLastExit", "s", "app"))["Reason"] == ("s", "dobby-gone")


async def test_a_container_that_is_killed_has_crashed_where_dobby_stays(app: Client) -> None:
    app.signals.clear()
    await app.control("Exits", "si", "app", 9)
    await app.until_signal("onContainerStopped", 734, "app")
    assert reported(app) == [("failed", "app", 3), ("exited", "app", "crashed", 9)]
    assert await app.property("DobbyAvailable") is True


async def test_reads_say_what_dobby_says_while_an_end_is_held_back(app: Client) -> None:
    await app.control("Exits", "si", "app", 15)
    await app.until_signal("Stopped", 734)
    assert await app.oci("listContainers") == []
    assert (await app.refused("getContainerState", "s", "app"))[0] == "NoSuchContainer"
    assert (await app.refused("getContainerState", "s", "734"))[0] == "NoSuchContainer"
    assert (len(await app.objects()), app.heard("onContainerStopped")) == (1, [])


@pytest.mark.parametrize("what", ["start", "wait", "stop", "last exit"])
async def test_a_caller_that_needs_to_know_ends_the_hold(
    app: Client, tmp_path: Path, what: str
) -> None:
    app.signals.clear()
    await app.control("Exits", "si", "app", 15)
    await app.until_signal("Stopped", 734)
    if what == "start":
        await app.start("app", make_bundle(tmp_path, "again"))
        lines = app.heard("onContainerStopped", "onContainerStarted")
        assert lines == [("onContainerStopped", 734, "app"), ("onContainerStarted", 879, "app")]
    elif what == "wait":
        assert await app.oci("waitForState", "sst", "app", "Stopped", MINUTE) == "Stopped"
    elif what == "last exit":
        assert (await app.oci("getLastExit", "s", "app"))["Reason"] == ("s", "crashed")
    else:
        assert (await app.refused("stopContainer", "sb", "734", False))[0] == "NoSuchContainer"
    assert reported(app) == [("failed", "app", 3), ("exited", "app", "crashed", 15)]


async def test_a_wait_in_flight_returns_at_once(app: Client) -> None:
    wait = asyncio.create_task(app.oci("waitForState", "sst", "734", "Paused", MINUTE))
    await app.oci("listContainers")  # the bus keeps the order of calls of one client
    app.signals.clear()
    await app.control("Exits", "si", "app", 9)
    assert await wait == "Stopped"
    assert reported(app) == [("failed", "app", 3), ("exited", "app", "crashed", 9)]


async def test_a_held_end_is_announced_before_ocibridge_stops(
    client: Client, dobby_process: Process, start_bridge: StartBridge, tmp_path: Path
) -> None:
    assert dobby_process.child.poll() is None
    daemon = await start_bridge()
    await client.listen()
    await client.until_property("DobbyAvailable", wanted=True)
    await client.start("app", make_bundle(tmp_path, "sleep"))
    await client.control("Exits", "si", "app", 9)
    await client.until_signal("Stopped", 734)
    daemon.stop()
    await client.until_owned("org.rdk.OCIContainer", owned=False)
    assert ("exited", "app", "crashed", 9) in reported(client)
