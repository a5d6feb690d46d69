# SPDX-License-Identifier: Apache-2.0
"""Many callers and a slow Dobby.

No caller waits for others longer than Dobby makes unavoidable, and Dobby is never overloaded.
"""

import asyncio
import json
import socket
from collections import Counter
from pathlib import Path

from ocibridge.bus.connection import Bus, ErrorReply
from ocibridge.config.schema import Duration, Limits, Timeouts
from tests.bus.conftest import StartBridge, StartDobby
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client

IN_FLIGHT = 32
REPLY_SLOTS = 49


async def dobby_is_unharmed(client: Client, leaked: int = 0) -> None:
    """All reply slots are free, the limit was kept, and no unknown method was called."""
    report = await client.report()
    assert (report["leaked"], report["open"], report["unknown"][leaked:]) == (leaked, 0, [])
    assert report["most_open"] <= IN_FLIGHT
    replies = [client.dobby("List") for _ in range(REPLY_SLOTS - leaked)]
    await asyncio.gather(*replies)


async def test_two_hundred_callers_at_once(oci: Client, address: str, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    buses = [await Bus.open(address) for _ in range(200)]
    callers = [Client(bus) for bus in buses]

    async def use(caller: Client) -> Counter[str]:
        said: Counter[str] = Counter()
        said[str(await caller.oci("getContainerState", "s", "app"))] += 1
        said[str((await caller.oci("getContainerInfo", "s", "app"))["id"])] += 1
        said[str(await caller.oci("listContainers"))] += 1
        said[str(await caller.oci("execCommand", "sss", "734", "", "true"))] += 1
        return said

    said = sum(await asyncio.gather(*map(use, callers)), Counter[str]())
    assert said == {
        "('app', 'Running')": 200,
        "('s', 'app')": 200,
        "[(734, 'app')]": 200,
        "None": 200,
    }
    for bus in buses:
        bus.close()
    await dobby_is_unharmed(oci)


async def test_ten_thousand_calls_in_a_row(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))

    async def many() -> None:
        for _ in range(1250):
            assert await oci.oci("getContainerState", "s", "app") == ("app", "Running")
            assert (await oci.oci("getContainerInfo", "s", "734"))["id"] == ("s", "app")

    await asyncio.gather(*(many() for _ in range(4)))
    await dobby_is_unharmed(oci)


async def test_reads_are_answered_while_a_start_takes_long(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    start = asyncio.create_task(
        oci.start("slow", make_bundle(tmp_path, "slow-start", start="3000"))
    )
    await oci.until_dobby_has("StartFromBundle", 2)

    assert await oci.oci("listContainers") == [(734, "app")]
    assert await oci.oci("getContainerState", "s", "app") == ("app", "Running")
    assert await oci.oci("getContainerState", "s", "slow") == ("slow", "Starting")
    name, said = await oci.refused("getContainerState", "s", "nosuch")
    assert (name, 'StartFromBundle of "slow"' in said) == ("Timeout", True), said
    assert not start.done()
    await start


async def test_a_timeout_says_what_dobby_is_busy_with(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> None:
    start_dobby()
    await start_bridge(timeouts=Timeouts(start=Duration(0.3), call=Duration(0.3)))
    await client.until_property("DobbyAvailable", wanted=True)
    await client.listen()
    await client.start("app", make_bundle(tmp_path, "sleep"))
    slow = str(make_bundle(tmp_path, "slow-start", start="1000"))

    start = asyncio.create_task(
        client.refused("startContainer", "ssssas", "slow", slow, "", "", [])
    )
    await client.until_dobby_has("StartFromBundle", 2)
    info = asyncio.create_task(client.refused("getContainerInfo", "s", "app"))
    assert (await start)[0] == "Timeout"
    name, said = await info
    assert (name, 'getContainerInfo of "app"' in said, 'StartFromBundle of "slow"' in said) == (
        "Timeout",
        True,
        True,
    ), said
    # The start still happens. The late reply updates the mirror, and a second start is refused
    # meanwhile.
    assert (await client.refused("startContainer", "ssssas", "slow", slow, "", "", []))[
        0
    ] == "ContainerExists"
    await client.until_signal("onContainerStarted", 879, "slow")
    assert await client.oci("getContainerInfo", "s", "slow")


async def test_a_full_queue(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> None:
    start_dobby()
    await start_bridge(limits=Limits(in_flight=2, queued=3))
    await client.until_property("DobbyAvailable", wanted=True)
    await client.start("app", make_bundle(tmp_path, "sleep"))
    await client.oci("execCommand", "sss", "app", "", "true")

    async def try_it() -> str:
        try:
            await client.oci("execCommand", "sss", "app", "", "true")
        except ErrorReply as error:
            return error.name.rpartition(".")[2]
        return "done"

    said = Counter(await asyncio.gather(*(try_it() for _ in range(20))))
    assert said == {"done": 4, "LimitsExceeded": 16}
    assert (await client.report())["most_open"] <= 2


async def test_a_shared_call_times_out_for_no_other_caller(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> None:
    start_dobby()
    await start_bridge(timeouts=Timeouts(call=Duration(0.4)))
    await client.until_property("DobbyAvailable", wanted=True)
    await client.start("app", make_bundle(tmp_path, "sleep"))
    start = asyncio.create_task(
        client.start("slow", make_bundle(tmp_path, "slow-start", start="1500"))
    )
    await client.until_dobby_has("StartFromBundle", 2)
    while not start.done():
        assert await client.oci("getContainerState", "s", "app") == ("app", "Running")
        assert (734, "app") in await client.oci("listContainers")
    await start


async def test_more_containers_than_places_in_the_queue(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> None:
    start_dobby()
    await client.listen()
    await client.until_signal("Ready")
    for n in range(8):
        await client.dobby(
            "StartFromBundle", "ssah", f"c{n}", str(make_bundle(tmp_path, f"b{n}")), []
        )
    await start_bridge(limits=Limits(in_flight=4, queued=2))
    assert await client.property("DobbyStatus") == "ready"
    assert await client.property("ContainerCount") == 8


async def test_slots_that_others_take_do_not_make_dobby_deaf(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.oci("execCommand", "sss", "app", "", "true")
    slow = asyncio.create_task(oci.start("slow", make_bundle(tmp_path, "slow-start", start="1000")))
    await oci.until_dobby_has("StartFromBundle", 2)
    others = [asyncio.create_task(oci.dobby("GetState", "i", 734)) for _ in range(25)]
    await oci.until_dobby_has("GetState", 25)
    ours = [
        asyncio.create_task(oci.oci("execCommand", "sss", "app", "", "true")) for _ in range(60)
    ]

    assert await asyncio.gather(*ours) == [None] * 60
    await asyncio.gather(slow, *others)
    statuses = [
        body[1]["DobbyStatus"][1]
        for member, body in oci.signals
        if member == "PropertiesChanged" and "DobbyStatus" in body[1]
    ]
    assert "deaf" not in statuses


async def test_a_caller_gets_its_order_also_through_a_full_pool(
    oci: Client, tmp_path: Path
) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    for member in ("pauseContainer", "resumeContainer"):
        await oci.oci(member, "s", "app")
    slow = asyncio.create_task(oci.start("slow", make_bundle(tmp_path, "slow-start", start="1000")))
    await oci.until_dobby_has("StartFromBundle", 2)
    others = [asyncio.create_task(oci.dobby("GetState", "i", 734)) for _ in range(REPLY_SLOTS - 1)]
    await oci.until_dobby_has("GetState", REPLY_SLOTS - 1)
    pairs = [
        asyncio.create_task(oci.oci(member, "s", "app"))
        for member in ("pauseContainer", "resumeContainer") * 3
    ]

    assert await asyncio.gather(*pairs) == [None] * 6
    await asyncio.gather(slow, *others)
    assert await oci.oci("getContainerState", "s", "app") == ("app", "Running")


async def test_a_reply_that_the_socket_does_not_take_at_once(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> None:
    start_dobby()
    daemon = await start_bridge()
    await client.until_property("DobbyAvailable", wanted=True)
    connection = socket.socket(fileno=daemon._bus._connection.get_fd())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    connection.detach()  # the descriptor belongs to sd-bus
    text = json.dumps({"text": "x" * 900_000})
    await client.start("large", make_bundle(tmp_path, "large", info=text))
    assert await client.oci("getContainerInfo", "s", "large") == {"text": ("s", "x" * 900_000)}


async def test_nothing_is_kept_of_containers_that_have_ended(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> None:
    """Descriptors go up to 1023. State kept per descriptor would be kept for ever."""
    start_dobby()
    daemon = await start_bridge()
    await client.until_property("DobbyAvailable", wanted=True)
    bundle = make_bundle(tmp_path, "sleep")
    for number in range(5):
        await client.start(f"a{number}", bundle)
        assert await client.oci("getContainerState", "s", f"a{number}") == (f"a{number}", "Running")
        await client.oci("stopContainer", "sb", f"a{number}", True)
    assert daemon._dobby._states == {}
