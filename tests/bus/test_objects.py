# SPDX-License-Identifier: Apache-2.0
"""Containers as objects: their signals and in which order they come.

See docs/design.md, Containers as objects.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from ocibridge.bus.connection import ErrorReply
from ocibridge.config.schema import Duration
from ocibridge.names import JSON_RPC_INTERFACE, OBJECT_PATH
from tests.bus.conftest import StartBridge, StartDobby
from tests.fake_dobby.bundles import RESTARTING_SPEC, make_bundle
from tests.fake_dobby.client import Client

APP = "/org/rdk/OCIContainer/container/app"


@pytest.fixture
def sent(oci: Client) -> list[tuple[Any, ...]]:
    """What ocibridge sends, as (path, member, relevant arguments)."""
    heard: list[tuple[Any, ...]] = []

    def hear(path: str, interface: str, member: str, body: tuple[Any, ...]) -> None:
        where = path.removeprefix(OBJECT_PATH).removeprefix("/container/") or "."
        if member == "PropertiesChanged":
            heard.append((where, *sorted(body[1])))
        elif path.startswith(OBJECT_PATH) and interface != JSON_RPC_INTERFACE:
            heard.append((where, member, *(a for a in body if not isinstance(a, dict | list))))

    oci.listeners.append(hear)
    return heard


async def ends(client: Client, container_id: str) -> dict[str, Any]:
    """The exit record in the containerExited signal."""
    await client.until_signal("containerExited", container_id)
    exits = [
        body[2]
        for member, body in client.signals
        if member == "containerExited" and body[0] == container_id
    ]
    return {name: value for name, (_, value) in exits[-1].items()}


async def test_the_signals_of_a_container_in_order(
    oci: Client, sent: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.oci("pauseContainer", "s", "app")
    await oci.oci("resumeContainer", "s", "app")
    await oci.oci("stopContainer", "sb", "app", False)
    await oci.until_signal("InterfacesRemoved")
    assert sent == [
        (".", "InterfacesAdded", APP),
        (".", "ContainerCount"),
        (".", "onContainerStateChanged", "app", "Running"),
        (".", "onContainerStarted", 734, "app"),
        ("app", "State", "StateChangedAt", "SubState"),
        (".", "onContainerStateChanged", "app", "Paused"),
        ("app", "State", "StateChangedAt", "SubState"),
        (".", "onContainerStateChanged", "app", "Running"),
        ("app", "SubState"),  # a substate of Running
        ("app", "State", "StateChangedAt", "SubState"),
        (".", "onContainerStateChanged", "app", "Stopped"),
        (".", "containerExited", "app", 734),
        (".", "ContainerCount"),
        (".", "onContainerStopped", 734, "app"),
        (".", "InterfacesRemoved", APP),
    ]


async def test_a_bad_end_is_announced_as_a_failure_first(
    oci: Client, sent: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    del sent[:]
    await oci.control("Exits", "si", "app", 139)
    await oci.until_signal("InterfacesRemoved")
    assert [line[1] for line in sent if line[0] == "."] == [
        "onContainerFailed",
        "onContainerStateChanged",
        "containerExited",
        "ContainerCount",
        "onContainerStopped",
        "InterfacesRemoved",
    ]
    assert oci.heard("onContainerFailed") == [("onContainerFailed", 734, "app", 3)]


async def test_the_object_shows_what_is_known(oci: Client, tmp_path: Path) -> None:
    assert await oci.objects() == {}
    bundle = make_bundle(tmp_path, "sleep")
    await oci.start("app", bundle)
    await oci.oci("startContainerFromDobbySpec", "sss", "a.b-c", RESTARTING_SPEC, "")
    await oci.dobby("StartFromBundle", "ssah", "other", str(make_bundle(tmp_path, "other")), [])
    await oci.until_signal("onContainerStarted", 439)
    objects = await oci.objects()
    assert sorted(objects) == [
        f"{OBJECT_PATH}/container/{name}" for name in ("a_2eb_2dc", "app", "other")
    ]
    app = objects.pop(APP)
    assert app.pop("StartedAt") == app.pop("StateChangedAt") > 1_700_000_000_000_000
    assert app == {
        "Id": "app",
        "Descriptor": 734,
        "State": "Running",
        "SubState": "Running",
        "Origin": "bundle",
        "BundlePath": str(bundle),
    }
    assert {o["Id"]: (o["Origin"], o["BundlePath"]) for o in objects.values()} == {
        "a.b-c": ("spec", ""),
        "other": ("unknown", ""),
    }


async def test_the_methods_of_the_object(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    assert (await oci.on("app", "getInfo"))["id"] == ("s", "app")
    await oci.on("app", "pause")
    assert await oci.on("app", "waitForState", "st", "Paused", 0) == "Paused"
    await oci.on("app", "resume")
    await oci.on("app", "exec", "ss", "", "true")
    await oci.on("app", "annotate", "ss", "title", "My app")
    assert (await oci.on("app", "getInfo"))["annotations"] == ("a{sv}", {"title": ("s", "My app")})
    await oci.on("app", "removeAnnotation", "s", "title")
    await oci.on("app", "mount", "ssass", str(tmp_path), "/mnt", ["rbind"], "")
    await oci.on("app", "unmount", "s", "/mnt")
    # The object is removed before the reply to its own stop is sent. The reply still arrives.
    assert await oci.on("app", "stop", "b", False) is None
    with pytest.raises(ErrorReply, match="Unknown") as refused:
        await oci.on("app", "pause")
    assert refused.value.name == "org.freedesktop.DBus.Error.UnknownObject"


async def test_two_stops_on_the_object_are_both_answered(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "stubborn", term="ignored"))
    stops = [oci.on("app", "stop", "b", False) for _ in range(2)]
    assert await asyncio.gather(*stops, oci.on("app", "waitForState", "st", "Stopped", 0)) == [
        None,
        None,
        "Stopped",
    ]
    assert (await oci.report())["calls"]["Stop"] == 1


async def test_an_id_used_again_is_a_new_object(oci: Client, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, "sleep")
    await oci.start("app", bundle)
    first = (await oci.objects())[APP]
    await oci.on("app", "stop", "b", True)
    await oci.start("app", bundle)
    second = (await oci.objects())[APP]
    assert (first["Descriptor"], second["Descriptor"]) == (734, 879)
    assert second["StartedAt"] > first["StartedAt"]
    came_and_went = [
        line[0].removeprefix("Interfaces")
        for line in oci.heard("InterfacesAdded", "InterfacesRemoved")
    ]
    assert came_and_went == ["Added", "Removed", "Added"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0, {"Reason": "exited", "WaitStatus": 0, "ExitCode": 0}),
        (10752, {"Reason": "exited", "WaitStatus": 10752, "ExitCode": 42}),
        (139, {"Reason": "crashed", "WaitStatus": 139, "Signal": 11, "CoreDumped": True}),
        (9, {"Reason": "crashed", "WaitStatus": 9, "Signal": 9, "CoreDumped": False}),
    ],
)
async def test_an_exit_that_nobody_requested(
    oci: Client, tmp_path: Path, status: int, expected: dict[str, Any]
) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.control("Exits", "si", "app", status)
    record = await ends(oci, "app")
    assert 0 < record.pop("StartedAt") < record.pop("StoppedAt")
    assert record == expected
    known = {name: value for name, (_, value) in (await oci.oci("getLastExit", "s", "app")).items()}
    assert {name: known[name] for name in expected} == expected


async def test_who_requested_an_end(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "stubborn", term="ignored"))
    await oci.oci("stopContainer", "sb", "app", False)
    record = await ends(oci, "app")
    by = {name: value for name, (_, value) in record["RequestedBy"].items()}
    assert (record["Reason"], record["Signal"]) == ("requested", 9)
    assert (by["Uid"], by["Pid"]) == (os.getuid(), os.getpid())
    assert by["Comm"].startswith(("python", "pytest"))
    assert by["Sender"].startswith(":")
    assert oci.heard("onContainerFailed") == []


async def test_a_refused_stop_has_no_part_in_a_later_end(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.oci("pauseContainer", "s", "app")
    assert (await oci.refused("stopContainer", "sb", "app", False))[0] == "WrongState"
    await oci.control("Exits", "si", "app", 9)
    record = await ends(oci, "app")
    assert (record["Reason"], "RequestedBy" in record) == ("crashed", False)


async def test_a_refused_stop_with_force_does_not_advise_force(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.oci("pauseContainer", "s", "app")
    await oci.control("AnswersInstead", "sss", "Stop", "b", "[false]")
    name, said = await oci.refused("stopContainer", "sb", "app", True)
    assert (name, "only with force" in said) == ("DobbyRefused", False)


async def test_the_last_exits_are_known_while_dobby_is_away(oci: Client, tmp_path: Path) -> None:
    assert (await oci.refused("getLastExit", "s", "app"))[0] == "NoSuchContainer"
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    assert (await oci.refused("getLastExit", "s", "app"))[0] == "NoSuchContainer"
    await oci.control("Dies")
    record = await ends(oci, "app")
    assert record["Reason"] == "dobby-gone"
    assert oci.heard("onContainerFailed") == [("onContainerFailed", 734, "app", 4)]
    assert (await oci.oci("getLastExit", "s", "app"))["Reason"] == ("s", "dobby-gone")
    assert (await oci.refused("getLastExit", "s", "734"))[0] == "NoSuchContainer"


async def test_a_container_that_is_lost(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.control("Vanishes", "s", "app")
    await oci.oci("listContainers")
    assert (await ends(oci, "app"))["Reason"] == "lost"
    assert oci.heard("onContainerFailed") == [("onContainerFailed", 734, "app", 4)]


async def test_a_restart_on_crash_changes_the_start_and_ends_nothing(oci: Client) -> None:
    await oci.oci("startContainerFromDobbySpec", "sss", "app", RESTARTING_SPEC, "")
    before = (await oci.objects())[APP]["StartedAt"]
    changed = asyncio.Event()

    def hear(path: str, _interface: str, member: str, body: tuple[Any, ...]) -> None:
        if (path, member) == (APP, "PropertiesChanged") and "StartedAt" in body[1]:
            changed.set()

    oci.listeners.append(hear)
    await oci.control("Exits", "si", "app", 1280)
    async with asyncio.timeout(10):
        await changed.wait()
    assert (await oci.objects())[APP]["StartedAt"] > before
    assert (
        oci.heard("onContainerStopped", "containerExited", "onContainerFailed", "InterfacesRemoved")
        == []
    )


@pytest.fixture
async def swept(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> Client:
    """Swept every 0.2 s, with one container."""
    start_dobby(hibernation=True)
    await start_bridge(sweep_interval=Duration(0.2))
    await client.listen()
    await client.until_property("DobbyAvailable", wanted=True)
    await client.start("app", make_bundle(tmp_path, "sleep"))
    return client


async def test_a_sweep_finds_what_others_did_and_dobby_did_not_say(swept: Client) -> None:
    await swept.dobby("Pause", "i", 734)
    await swept.until_signal("onContainerStateChanged", "app", "Paused")
    assert (await swept.objects())[APP]["State"] == "Paused"
    await swept.dobby("Resume", "i", 734)
    await swept.until_heard(3, "onContainerStateChanged")
    assert swept.heard("onContainerStateChanged")[-1][2] == "Running"


async def test_a_sweep_finds_what_is_gone_and_what_is_invalid(swept: Client) -> None:
    await swept.control("StateBecomes", "si", "app", 0)
    await swept.until_signal("onContainerStateChanged", "app", "Invalid")
    assert await swept.oci("getContainerState", "s", "app") == ("app", "Invalid")
    await swept.control("Vanishes", "s", "app")
    await swept.until_signal("onContainerStopped", 734, "app")
    assert await swept.objects() == {}


async def test_others_hibernation_is_announced_by_its_signal(swept: Client) -> None:
    await swept.dobby("Hibernate", "is", 734, "")
    await swept.until_signal("onContainerStateChanged", "app", "Paused")
    assert (await swept.objects())[APP]["SubState"] == "Hibernated"


async def test_a_sweep_waits_for_a_busy_dobby(swept: Client, tmp_path: Path) -> None:
    await swept.until_dobby_has("GetState")
    start = asyncio.create_task(
        swept.start("slow", make_bundle(tmp_path, "slow-start", start="1000"))
    )
    await swept.until_dobby_has("StartFromBundle", 2)
    before = (await swept.report())["calls"]["List"]
    await start
    assert (await swept.report())["calls"]["List"] <= before + 1
    await swept.until_dobby_has("List", before + 2)
