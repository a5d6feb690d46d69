# SPDX-License-Identifier: Apache-2.0
"""Dobby absent, starting, killed, replaced, deaf or stalled.

What callers get. ocibridge recovers without a restart.
"""

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

from ocibridge import daemon
from ocibridge.bridge import exit_tracker
from ocibridge.config.schema import Duration, Limits, Timeouts, UnknownOrigin
from ocibridge.dobby import health, monitor
from ocibridge.names import DRIVER, DRIVER_PATH, INTERFACE
from tests.bus.conftest import StartBridge, StartDobby
from tests.fake_dobby.bundles import RESTARTING_SPEC, make_bundle
from tests.fake_dobby.client import Client
from tests.fake_dobby.processes import Process

EVERY_CALL: list[tuple[Any, ...]] = [
    ("listContainers", ""),
    ("getContainerState", "s", "app"),
    ("getContainerInfo", "s", "app"),
    ("startContainer", "ssssas", "app", "/no/such", "", "", []),
    ("startContainerFromDobbySpec", "sss", "app", "{}", ""),
    ("stopContainer", "sb", "app", False),
    ("pauseContainer", "s", "app"),
    ("resumeContainer", "s", "app"),
    ("execCommand", "sss", "app", "", "true"),
    ("executeCommand", "sss", "app", "", "true"),
]


STARTED, STOPPED = ("onContainerStarted", 734, "app"), ("onContainerStopped", 734, "app")


async def every_call_is_unavailable(client: Client) -> None:
    refusals = await asyncio.gather(*(client.refused(*call) for call in EVERY_CALL))
    assert {name for name, _ in refusals} == {"DobbyUnavailable"}, refusals


async def test_absent_then_there_then_gone(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> None:
    await start_bridge()
    assert await client.property("DobbyStatus") == "absent"
    assert await client.property("DobbyAvailable") is False
    await every_call_is_unavailable(client)

    await client.listen()
    dobby = start_dobby()
    await client.until_property("DobbyAvailable", wanted=True)
    assert await client.property("DobbyStatus") == "ready"
    await client.start("app", make_bundle(tmp_path, "sleep"))

    dobby.kill()
    await client.until_property("DobbyStatus", wanted="absent")
    await every_call_is_unavailable(client)
    assert await client.property("ContainerCount") == 0
    # DobbyAvailable first, then the ends.
    assert client.heard("onContainerStarted", "onContainerStopped") == [
        ("onContainerStarted", 734, "app"),
        ("onContainerStopped", 734, "app"),
    ]
    changes = [
        sorted(body[1])
        for member, body in client.signals
        if member == "PropertiesChanged" and body[0] == INTERFACE
    ]
    assert changes[-2:] == [["DobbyAvailable", "DobbyStatus"], ["ContainerCount"]]

    start_dobby()
    await client.until_property("DobbyAvailable", wanted=True)
    assert await client.oci("listContainers") == []


async def test_killed_in_mid_call(oci: Client, start_dobby: StartDobby, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, "slow-start", start="60000")
    start = asyncio.create_task(
        oci.refused("startContainer", "ssssas", "slow", str(bundle), "", "", [])
    )
    await oci.until_dobby_has("StartFromBundle")
    assert await oci.oci("getContainerState", "s", "slow") == ("slow", "Starting")
    await oci.control("Dies")
    assert (await start)[0] == "DobbyUnavailable"
    assert (await oci.refused("getContainerState", "s", "slow"))[0] == "DobbyUnavailable"

    start_dobby()
    await oci.until_property("DobbyAvailable", wanted=True)
    assert (await oci.refused("getContainerState", "s", "slow"))[0] == "NoSuchContainer"


async def test_replaced_without_a_gap(oci: Client, start_dobby: StartDobby, tmp_path: Path) -> None:
    """A second Dobby takes the name.

    The containers of the first one end, and its later signals are ignored.
    """
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    slow = str(make_bundle(tmp_path, "slow-start", start="1500"))
    start = asyncio.create_task(oci.refused("startContainer", "ssssas", "slow", slow, "", "", []))
    await oci.until_dobby_has("StartFromBundle", 2)
    start_dobby()
    assert (await start)[0] == "DobbyUnavailable"
    await oci.until_signal("onContainerStopped", 734, "app")
    await oci.until_property("DobbyAvailable", wanted=True)
    await oci.until_heard(2, "Started")  # the first Dobby's "slow" did start
    assert await oci.oci("listContainers") == []
    assert oci.heard("onContainerStarted", "onContainerStopped") == [STARTED, STOPPED]


async def test_a_stop_that_loses_dobby_is_no_success(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "frozen", term="frozen"))
    stop = asyncio.create_task(oci.refused("stopContainer", "sb", "app", False))
    await oci.until_dobby_has("Stop")
    await oci.control("Dies")
    assert (await stop)[0] == "DobbyUnavailable"


async def test_a_name_without_ready_is_starting(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge
) -> None:
    start_dobby(ready_ms=None)
    await client.until_owned()
    await start_bridge(timeouts=Timeouts(call=Duration(0.3)))
    assert await client.property("DobbyStatus") == "starting"
    await every_call_is_unavailable(client)

    await client.control("BecomesReady")
    await client.until_property("DobbyStatus", wanted="ready")
    assert (await client.report())["leaked"] == 0


async def test_the_libdbus_build(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> None:
    start_dobby(libdbus=True, ready_ms=300, legacy=False)
    await client.until_owned()
    await start_bridge()
    await client.until_property("DobbyStatus", wanted="ready")

    await client.start("app", make_bundle(tmp_path, "sleep"))
    assert (await client.refused("startContainerFromDobbySpec", "sss", "x", "{}", ""))[
        0
    ] == "NotSupported"


async def test_containers_that_were_there_before_us(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> None:
    await client.listen()
    start_dobby()
    await client.until_signal("Ready")
    for container_id in ("b", "a"):
        await client.dobby(
            "StartFromBundle", "ssah", container_id, str(make_bundle(tmp_path, container_id)), []
        )
    await client.dobby("Pause", "i", 879)
    await start_bridge()

    # The name is requested only after the first snapshot.
    assert await client.property("ContainerCount") == 2
    assert client.heard("onContainerStarted") == [
        ("onContainerStarted", 879, "a"),
        ("onContainerStarted", 734, "b"),
    ]
    assert await client.oci("getContainerState", "s", "a") == ("a", "Paused")


async def test_what_is_known_of_a_bundle_survives_our_restart(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> None:
    dobby = start_dobby()
    first = await start_bridge()
    await client.until_property("DobbyAvailable", wanted=True)
    await client.start("plain", make_bundle(tmp_path, "plain-oci", plugins=False))
    first.stop()
    await client.until_owned("org.rdk.OCIContainer", owned=False)
    await start_bridge()

    assert (await client.refused("getContainerInfo", "s", "plain"))[0] == "NotSupported"
    assert dobby.child.poll() is None


async def test_what_is_known_of_a_start_under_way_survives_our_restart(
    client: Client,
    start_dobby: StartDobby,
    start_bridge: StartBridge,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(daemon, "DRAIN_SECONDS", 0.1)
    start_dobby()
    first = await start_bridge()
    await client.until_property("DobbyAvailable", wanted=True)
    bundle = str(make_bundle(tmp_path, "plain-oci", plugins=False, start="1500"))
    start = asyncio.create_task(
        client.refused("startContainer", "ssssas", "plain", bundle, "", "", [])
    )
    await client.until_dobby_has("StartFromBundle")
    first.stop()
    assert await start == ("Timeout", "ocibridge is stopping")
    await client.until_owned("org.rdk.OCIContainer", owned=False)
    await start_bridge()
    await client.until_property("ContainerCount", wanted=1)

    assert (await client.refused("getContainerInfo", "s", "plain"))[0] == "NotSupported"


async def test_another_dobbys_containers_are_not_taken_for_those_we_knew(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> None:
    await start_bridge()
    first = start_dobby()
    await client.until_property("DobbyAvailable", wanted=True)
    await client.start("app", make_bundle(tmp_path, "plain-oci", plugins=False))
    first.kill()
    await client.until_property("DobbyAvailable", wanted=False)
    start_dobby()
    await client.until_property("DobbyAvailable", wanted=True)
    # The same id and descriptor, but another container.
    assert await client.start("app", make_bundle(tmp_path, "sleep")) == 734
    assert (await client.oci("getContainerInfo", "s", "app"))["id"] == ("s", "app")


@pytest.mark.parametrize("policy", ["auto", "allow", "refuse"])
async def test_a_container_of_unknown_origin(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path, policy: str
) -> None:
    start_dobby()
    await start_bridge(unknown_origin=UnknownOrigin(policy))
    await client.until_property("DobbyAvailable", wanted=True)
    await client.listen()
    await client.dobby(
        "StartFromBundle", "ssah", "foreign", str(make_bundle(tmp_path, "sleep")), []
    )
    await client.until_signal("onContainerStarted")

    if policy != "refuse":
        assert (await client.oci("getContainerInfo", "s", "foreign"))["state"] == ("s", "Running")
    else:
        assert (await client.refused("getContainerInfo", "s", "foreign"))[0] == "NotSupported"


async def test_deaf_and_well_again(
    oci: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "DEAF_RETRY", 0.2)
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.control("Leak", "i", 49)
    name, said = await oci.refused("pauseContainer", "s", "app")
    assert (name, "restart" in said) == ("DobbyUnavailable", True)
    assert await oci.property("DobbyStatus") == "deaf"
    assert await oci.property("DobbyAvailable") is False
    # The containers still run, and their signals still arrive.
    assert await oci.property("ContainerCount") == 1
    await every_call_is_unavailable(oci)

    await oci.control("Leak", "i", 0)
    await oci.until_property("DobbyStatus", wanted="ready")
    assert await oci.oci("listContainers") == [(734, "app")]
    assert oci.heard("onContainerStarted") == [("onContainerStarted", 734, "app")]


async def test_stalled_and_well_again(
    oci: Client, dobby_process: Process, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(health, "ASK_AFTER", 0.1)
    monkeypatch.setattr(health, "SILENT_SECONDS", 0.6)
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    with dobby_process.frozen():
        info = asyncio.create_task(oci.refused("getContainerInfo", "s", "app"))
        await oci.until_property("DobbyStatus", wanted="stalled")
        name, said = await oci.refused("listContainers", "")
        assert (name, "since" in said) == ("DobbyUnavailable", True)
        info.cancel()
    await oci.until_property("DobbyStatus", wanted="ready")
    assert await oci.oci("listContainers") == [(734, "app")]
    assert (await oci.report())["calls"]["Ping"] >= 1


async def test_with_one_place_a_slow_start_is_no_stall(
    client: Client,
    start_dobby: StartDobby,
    start_bridge: StartBridge,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "ASK_AFTER", 0.1)
    monkeypatch.setattr(health, "SILENT_SECONDS", 0.6)
    start_dobby()
    await start_bridge(limits=Limits(in_flight=1))
    await client.until_property("DobbyAvailable", wanted=True)
    assert await client.start("slow", make_bundle(tmp_path, "slow-start", start="1500")) == 734


async def test_a_ping_that_dies_with_dobby_is_no_error_of_ours(
    oci: Client, dobby_process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ASK_AFTER", 0.1)
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, complaint: complaints.append(complaint)
    )
    bundle = str(make_bundle(tmp_path, "slow-start", start="60000"))
    start = asyncio.create_task(oci.refused("startContainer", "ssssas", "slow", bundle, "", "", []))
    await oci.until_dobby_has("Ping")
    dobby_process.kill()
    assert (await start)[0] == "DobbyUnavailable"
    gc.collect()
    assert complaints == []


async def test_a_slow_start_is_no_stall(
    oci: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ASK_AFTER", 0.1)
    monkeypatch.setattr(health, "SILENT_SECONDS", 0.6)
    await oci.start("slow", make_bundle(tmp_path, "slow-start", start="2000"))

    assert (await oci.report())["calls"]["Ping"] >= 2
    statuses = [
        body[1]["DobbyStatus"]
        for member, body in oci.signals
        if member == "PropertiesChanged" and "DobbyStatus" in body[1]
    ]
    assert ("s", "stalled") not in statuses


async def test_a_dobby_that_lacks_a_method_is_called_once(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge
) -> None:
    start_dobby(legacy=False)
    await start_bridge(limits=Limits(per_caller=100))
    await client.until_property("DobbyAvailable", wanted=True)
    calls = [
        client.refused("startContainerFromDobbySpec", "sss", f"x{n}", "{}", "") for n in range(100)
    ]
    assert {name for name, _ in await asyncio.gather(*calls)} == {"NotSupported"}

    report = await client.report()
    assert (report["leaked"], report["unknown"]) == (1, ["org.rdk.dobby.ctrl1.StartFromSpec"])
    assert await client.oci("listContainers") == []


async def test_a_container_that_vanishes_without_a_signal(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.control("Vanishes", "s", "app")

    assert await oci.oci("listContainers") == []
    await oci.until_signal("onContainerStopped", 734, "app")
    assert (await oci.refused("getContainerState", "s", "app"))[0] == "NoSuchContainer"
    assert len(oci.heard("onContainerStopped")) == 1


async def test_a_silent_end_that_could_not_be_checked_is_found_by_the_next_list(
    oci: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exit_tracker, "CHECK_SECONDS", 0.2)
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.control("Vanishes", "s", "app")
    assert await oci.oci("listContainers") == []
    await oci.start(
        "slow", make_bundle(tmp_path, "slow-start", start="1500")
    )  # Dobby is busy when the end is checked
    assert await oci.oci("listContainers") == [(879, "slow")]
    await oci.until_signal("onContainerStopped", 734, "app")
    assert await oci.property("ContainerCount") == 1


async def test_a_restart_on_crash_is_no_end(oci: Client) -> None:
    await oci.oci("startContainerFromDobbySpec", "sss", "app", RESTARTING_SPEC, "")
    await oci.control("Exits", "si", "app", 1280)
    await oci.until_signal("Stopped", 734)
    assert await oci.oci("getContainerState", "s", "app") == ("app", "Running")
    assert await oci.property("ContainerCount") == 1

    await oci.control("Exits", "si", "app", 0)
    await oci.until_signal("onContainerStopped", 734, "app")
    assert oci.heard("onContainerStarted", "onContainerStopped") == [STARTED, STOPPED]


async def test_an_end_that_we_did_not_request(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.control("Exits", "si", "app", 139)
    await oci.until_signal("onContainerStopped", 734, "app")
    assert await oci.property("ContainerCount") == 0


async def test_a_forged_signal_changes_nothing(oci: Client, address: str, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    owner = (
        await oci.call(DRIVER, DRIVER_PATH, DRIVER, "GetNameOwner", "s", "org.rdk.OCIContainer")
    )[0]
    for member, *body in [("Stopped", "is", "734", "app"), ("Started", "is", "91", "ghost")]:
        for destination in (
            [],
            [f"--destination={owner}"],
        ):  # broadcast, and unicast, which bypasses the match rule
            emit = [
                "busctl",
                f"--address={address}",
                "emit",
                *destination,
                "/org/rdk/dobby",
                "org.rdk.dobby.ctrl1",
                member,
                *body,
            ]
            await (await asyncio.create_subprocess_exec(*emit)).wait()

    assert await oci.oci("getContainerState", "s", "app") == ("app", "Running")
    assert (await oci.refused("getContainerState", "s", "ghost"))[0] == "NoSuchContainer"
    assert oci.heard("onContainerStarted", "onContainerStopped") == [
        ("onContainerStarted", 734, "app")
    ]
    assert await oci.property("ContainerCount") == 1


async def test_a_signal_of_the_wrong_signature_changes_nothing(oci: Client) -> None:
    await oci.control("Says", "sss", "Started", "s", '["app"]')
    await oci.control("Says", "sss", "Stopped", "ss", '["734", "app"]')
    assert await oci.oci("listContainers") == []


async def test_what_is_known_of_a_bundle_is_kept_before_its_start_goes_out(
    client: Client,
    start_dobby: StartDobby,
    start_bridge: StartBridge,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If ocibridge is killed then, it must still know that getContainerInfo would kill Dobby."""
    start_dobby()
    daemon = await start_bridge()
    await client.until_property("DobbyAvailable", wanted=True)
    kept: list[str] = []
    call = daemon._bus.call

    def spy(to: str, path: str, interface: str, method: str, *rest: Any) -> Any:
        if method == "StartFromBundle":
            kept.extend(file.read_text() for file in (tmp_path / "run").glob("*.json"))
        return call(to, path, interface, method, *rest)

    monkeypatch.setattr(daemon._bus, "call", spy)
    await client.start("plain", make_bundle(tmp_path, "plain-oci", plugins=False))
    assert ['"plain"' in text for text in kept] == [True]
