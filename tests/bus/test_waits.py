# SPDX-License-Identifier: Apache-2.0
"""waitForState, and methods that return once their effect is there.

See docs/design.md, waitForState.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ocibridge.api import call
from ocibridge.bridge import transitions
from ocibridge.bus.connection import Bus, ErrorReply
from ocibridge.config.schema import Duration, Timeouts
from ocibridge.model import State, SubState
from ocibridge.names import INTERFACE, OBJECT_PATH
from tests.bus.conftest import StartBridge, StartDobby
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import BOUND, Client
from tests.fake_dobby.processes import Process

MINUTE = 60_000_000


def waiting(
    client: Client, container_id: str, state: str, microseconds: int = MINUTE
) -> "asyncio.Task[Any]":
    return asyncio.create_task(client.oci("waitForState", "sst", container_id, state, microseconds))


async def until_waiting(client: Client) -> None:
    """Until an earlier wait is in flight. The bus keeps the order of calls of one client."""
    await client.oci("listContainers")


async def test_a_state_that_is_there_already(app: Client) -> None:
    assert await app.oci("waitForState", "sst", "app", "Running", 0) == "Running"
    assert await app.oci("waitForState", "sst", "734", "Running", 0) == "Running"
    await app.dobby("Pause", "i", 734)  # by another client, before any sweep has seen it
    assert await app.oci("waitForState", "sst", "app", "Paused", 0) == "Paused"


@pytest.mark.parametrize("container_id", ["app", "734"])
async def test_a_state_that_comes(app: Client, container_id: str) -> None:
    wait = waiting(app, container_id, "Paused")
    await until_waiting(app)
    assert not wait.done()
    await app.oci("pauseContainer", "s", "app")
    assert await wait == "Paused"


async def test_a_finer_state_that_comes_and_goes(app: Client) -> None:
    wait = waiting(app, "app", "Stopping")
    await until_waiting(app)
    await app.oci("stopContainer", "sb", "app", False)
    assert await wait == "Stopping"


async def test_an_end_ends_every_wait(app: Client) -> None:
    waits = [waiting(app, "app", state) for state in ("Paused", "Stopped", "Hibernated")]
    await until_waiting(app)
    await app.control("Exits", "si", "app", 0)
    assert await asyncio.gather(*waits) == ["Stopped"] * 3
    assert await app.oci("waitForState", "sst", "app", "Stopped", 0) == "Stopped"


async def test_an_id_that_is_not_there_yet(oci: Client, tmp_path: Path) -> None:
    assert await oci.oci("waitForState", "sst", "app", "Stopped", 0) == "Stopped"
    waits = [waiting(oci, "app", state) for state in ("Starting", "Running", "Paused")]
    await until_waiting(oci)
    await oci.start("app", make_bundle(tmp_path, "slow-start", start="300"))
    assert [await waits[0], await waits[1]] == ["Starting", "Running"]
    await oci.oci("stopContainer", "sb", "app", True)
    assert await waits[2] == "Stopped"


async def test_while_it_starts_it_is_not_stopped(oci: Client, tmp_path: Path) -> None:
    start = asyncio.create_task(
        oci.refused(
            "startContainer",
            "ssssas",
            "app",
            str(make_bundle(tmp_path, "x", fail="failing")),
            "",
            "",
            [],
        )
    )
    await oci.until_dobby_has("StartFromBundle")
    assert await oci.oci("waitForState", "sst", "app", "Starting", 0) == "Starting"
    wait = waiting(oci, "app", "Stopped")
    await start
    assert await wait == "Stopped"  # the start has failed


async def test_time_over(app: Client) -> None:
    name, said = await app.refused("waitForState", "sst", "app", "Paused", 50_000)
    assert (name, "0.05 s" in said, "now: Running" in said) == ("Timeout", True, True)
    assert (await app.refused("waitForState", "sst", "nosuch", "Running", 1))[0] == "Timeout"
    wait = waiting(app, "app", "Stopped", 2**64 - 1)
    await app.oci("stopContainer", "sb", "app", True)
    assert await wait == "Stopped"


async def test_words_that_are_none(app: Client) -> None:
    name, said = await app.refused("waitForState", "sst", "app", "paused", 0)
    assert name == "InvalidArgs"
    assert all(word in said for word in (*State, *SubState))


async def test_dobby_lost_while_waiting_is_an_end(app: Client) -> None:
    wait = waiting(app, "app", "Paused")
    unknown = asyncio.create_task(app.refused("waitForState", "sst", "nosuch", "Running", 0))
    await until_waiting(app)
    await app.control("Dies")
    assert (await wait, (await unknown)[0]) == ("Stopped", "DobbyUnavailable")
    await app.until_property("DobbyStatus", wanted="absent")
    assert (await app.refused("waitForState", "sst", "app", "Stopped", 0))[0] == "DobbyUnavailable"


@pytest.mark.usefixtures("app")
async def test_a_wait_ends_with_its_caller(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left = asyncio.Event()
    debug: list[str] = []
    caller = Client(await Bus.open(address))
    wait = waiting(caller, "app", "Paused")
    await until_waiting(caller)

    def note(text: str, **_: Any) -> None:
        debug.append(text)
        left.set()

    monkeypatch.setattr(call.log, "debug", note, raising=False)
    caller.bus.close()
    async with asyncio.timeout(BOUND):
        await left.wait()
    assert debug == ["waitForState refused: the caller has left the bus"]
    wait.cancel()


async def test_waits_end_at_once_when_ocibridge_stops(
    client: Client, dobby_process: Process, start_bridge: StartBridge, tmp_path: Path
) -> None:
    assert dobby_process.child.poll() is None
    daemon = await start_bridge()
    await client.until_property("DobbyAvailable", wanted=True)
    await client.start("app", make_bundle(tmp_path, "sleep"))
    wait = asyncio.create_task(client.refused("waitForState", "sst", "app", "Paused", 0))
    slow = asyncio.create_task(
        client.start("slow", make_bundle(tmp_path, "slow-start", start="1000"))
    )
    await client.until_dobby_has("StartFromBundle", 2)
    daemon.stop()
    assert await wait == ("Timeout", "ocibridge is stopping")
    assert not slow.done()
    assert await slow == 879  # calls in flight may end


async def test_calls_that_arrive_while_ocibridge_stops_are_not_done(
    client: Client, dobby_process: Process, start_bridge: StartBridge, tmp_path: Path
) -> None:
    """They come by the unique name. Otherwise some would be done and answered as if they were not.

    Where the bus allows everything, its policy does not stop them either: it knows us by name.
    """
    assert dobby_process.child.poll() is None
    daemon = await start_bridge()
    await client.until_property("DobbyAvailable", wanted=True)
    await client.start("app", make_bundle(tmp_path, "sleep"))
    ours = await client.bus.driver("GetNameOwner", "s", "org.rdk.OCIContainer")
    slow = asyncio.create_task(
        client.start("slow", make_bundle(tmp_path, "slow-start", start="1000"))
    )
    await client.until_dobby_has("StartFromBundle", 2)
    daemon.stop()
    await client.until_owned("org.rdk.OCIContainer", owned=False)
    for member in ("pauseContainer", "getContainerState"):
        with pytest.raises(ErrorReply, match="Timeout: ocibridge is stopping"):
            await client.call(ours, OBJECT_PATH, INTERFACE, member, "s", "app")
    assert not slow.done()
    assert await slow == 879
    assert (await client.report())["calls"].get("Pause", 0) == 0


@pytest.mark.parametrize("word", ["Running", "Paused"])
async def test_a_wait_that_is_over_at_once(app: Client, word: str) -> None:
    """A state that has been reached already is told, however short the wait may be."""
    if word == "Paused":
        await app.oci("pauseContainer", "s", "app")
    assert await app.oci("waitForState", "sst", "app", word, 1) == word
    other = {"Running": "Paused", "Paused": "Running"}[word]
    assert (await app.refused("waitForState", "sst", "app", other, 1))[0] == "Timeout"


async def test_reads_and_waits_do_not_wait_for_a_busy_dobby(app: Client, tmp_path: Path) -> None:
    start = asyncio.create_task(
        app.start("slow", make_bundle(tmp_path, "slow-start", start="2000"))
    )
    await app.until_dobby_has("StartFromBundle", 2)
    states = asyncio.gather(*(app.oci("getContainerState", "s", "app") for _ in range(20)))
    lists = asyncio.gather(*(app.oci("listContainers") for _ in range(20)))
    assert await app.oci("waitForState", "sst", "app", "Running", 0) == "Running"
    assert await app.oci("waitForState", "sst", "slow", "Starting", 0) == "Starting"
    assert (await states, await lists) == ([("app", "Running")] * 20, [[(734, "app")]] * 20)
    assert not start.done()
    calls = (await app.report())["calls"]
    assert (calls["List"], calls["GetState"]) <= (3, 3)  # shared by all callers
    await start


# Hibernation.


@pytest.fixture
async def hibernating(client: Client, start_dobby: StartDobby, start_bridge: StartBridge) -> Client:
    """A Dobby that supports hibernation."""
    start_dobby(hibernation=True)
    await start_bridge(timeouts=Timeouts(hibernate=Duration(2)))
    await client.listen()
    await client.until_property("DobbyAvailable", wanted=True)
    return client


async def test_hibernate_and_wakeup_return_when_they_are_done(
    hibernating: Client, tmp_path: Path
) -> None:
    await hibernating.start("app", make_bundle(tmp_path, "sleep"))
    await hibernating.oci("hibernateContainer", "ss", "app", "compress=lz4")
    assert await hibernating.oci("getContainerState", "s", "app") == ("app", "Paused")
    name, said = await hibernating.refused("hibernateContainer", "ss", "app", "")
    assert (name, "it is Hibernated" in said) == ("WrongState", True)
    assert (await hibernating.refused("pauseContainer", "s", "app"))[0] == "WrongState"
    await hibernating.on("app", "wakeup")
    assert (await hibernating.refused("wakeupContainer", "s", "app"))[0] == "WrongState"
    assert [line[2] for line in hibernating.heard("onContainerStateChanged")] == [
        "Running",
        "Paused",
        "Running",
    ]
    changed = [
        body[1]["SubState"][1]
        for call, body in hibernating.signals
        if call == "PropertiesChanged" and "SubState" in body[1]
    ]
    assert changed == ["Hibernating", "Hibernated", "Awakening", "Running"]
    assert hibernating.heard("onContainerStarted") == [
        ("onContainerStarted", 734, "app")
    ]  # waking up is no start


async def test_hibernation_that_fails_without_a_signal(
    hibernating: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transitions, "POLL_SECONDS", 0.05)
    await hibernating.start("app", make_bundle(tmp_path, "sleep", memcr="fails"))
    name, said = await hibernating.refused("hibernateContainer", "ss", "app", "")
    assert (name, "memcr" in said) == ("DobbyRefused", True)
    assert [line[2] for line in hibernating.heard("onContainerStateChanged")] == ["Running"]


async def test_an_end_while_it_hibernates(hibernating: Client, tmp_path: Path) -> None:
    await hibernating.start("app", make_bundle(tmp_path, "sleep", memcr="hangs"))
    hibernate = asyncio.create_task(hibernating.refused("hibernateContainer", "ss", "app", ""))
    await hibernating.until_dobby_has("Hibernate")
    await hibernating.control("Exits", "si", "app", 9)
    assert (await hibernate)[0] == "NoSuchContainer"


async def test_an_end_without_a_signal_while_it_hibernates(
    hibernating: Client, tmp_path: Path
) -> None:
    """Only GetState shows it. The mirror keeps the container until the next List."""
    await hibernating.start("app", make_bundle(tmp_path, "sleep", memcr="hangs"))
    hibernate = asyncio.create_task(hibernating.refused("hibernateContainer", "ss", "app", ""))
    await hibernating.until_dobby_has("Hibernate")
    await hibernating.control("Vanishes", "s", "app")
    assert (await hibernate)[0] == "NoSuchContainer"


async def test_a_dobby_that_cannot_hibernate_says_yes(app: Client) -> None:
    name, said = await app.refused("hibernateContainer", "ss", "app", "")
    assert (name, "built without hibernation" in said) == ("DobbyRefused", True)


# Annotations and mounts.


async def test_annotations(app: Client) -> None:
    await app.oci("annotate", "sss", "app", "", "Ü\n")
    await app.oci("annotate", "sss", "app", "", "again")
    assert (await app.oci("getContainerInfo", "s", "app"))["annotations"] == (
        "a{sv}",
        {"": ("s", "again")},
    )
    await app.oci("removeAnnotation", "ss", "app", "")
    name, said = await app.refused("removeAnnotation", "ss", "app", "")
    assert (name, 'no annotation ""' in said) == ("DobbyRefused", True)
    assert (await app.refused("annotate", "sss", "nosuch", "a", "b"))[0] == "NoSuchContainer"


async def test_annotations_that_would_kill_dobby(
    oci: Client, dobby_process: Process, tmp_path: Path
) -> None:
    await oci.start("plain", make_bundle(tmp_path, "plain-oci", plugins=False))
    assert (await oci.refused("annotate", "sss", "plain", "a", "b"))[0] == "NotSupported"
    assert (await oci.refused("removeAnnotation", "ss", "plain", "a"))[0] == "NotSupported"
    assert dobby_process.child.poll() is None


async def test_mounts(app: Client, tmp_path: Path) -> None:
    await app.oci("mount", "sssass", "app", str(tmp_path), "/mnt", ["bind", "ro"], "")
    assert (await app.refused("mount", "sssass", "app", str(tmp_path), "/mnt", ["bind"], ""))[
        0
    ] == "DobbyRefused"
    await app.oci("unmount", "ss", "app", "/mnt")
    assert (await app.refused("unmount", "ss", "app", "/mnt"))[0] == "DobbyRefused"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("src", "/mnt", ["bind"], ""), "source"),
        (("/src", "mnt", ["bind"], ""), "target"),
        (("/src", "/mnt", ["ro"], ""), "flags"),
        (("/src", "/mnt", [], ""), "flags"),
        (("/src", "/mnt", ["bind", "no-suid"], ""), "no-suid"),
    ],
)
async def test_mounts_that_can_never_be(app: Client, arguments: tuple[Any, ...], what: str) -> None:
    name, said = await app.refused("mount", "sssass", "app", *arguments)
    assert (name, what in said) == ("InvalidArgs", True)
    assert "Mount" not in (await app.report())["calls"]
