# SPDX-License-Identifier: Apache-2.0
"""The fake Dobby reproduces the real one's traps that a replay of calls cannot show.

The docstrings of the tests name the captures in docs/dobby-captures.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ocibridge.bus.connection import ErrorReply
from tests.bus.conftest import StartDobby
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client

NO_SLOT = "Unknown method {} or interface org.rdk.dobby.ctrl1."


async def text_of(call: Any) -> str:
    """The error's text, or the reply."""
    try:
        return str(await call)
    except ErrorReply as error:
        return error.text


async def test_unknown_calls_leak_slots_until_it_is_deaf(dobby: Client) -> None:
    """02_reply_pool_exhaustion."""
    for n in range(49):
        assert (
            await text_of(dobby.dobby("Nope")) == "No handler for method org.rdk.dobby.ctrl1.Nope"
        ), n
    assert await text_of(dobby.dobby("List")) == NO_SLOT.format("List")
    assert (
        await text_of(dobby.dobby("Ping", word="admin1"))
        == "Unknown method Ping or interface org.rdk.dobby.admin1."
    )
    assert (await dobby.report())["leaked"] == 49


async def test_the_fiftieth_call_at_once_is_refused(dobby: Client, tmp_path: Path) -> None:
    """24_concurrency_slow_start_and_pool.

    One start and 60 GetState calls: 48 of these are answered, 12 are refused at once.
    """
    slow = asyncio.create_task(
        dobby.start_at_dobby(make_bundle(tmp_path, "slow-start", start="500"), "slow1")
    )
    await dobby.until_dobby_has("StartFromBundle")
    said = await asyncio.gather(*(text_of(dobby.dobby("GetState", "i", 1)) for _ in range(60)))
    assert said == ["(0,)"] * 48 + [NO_SLOT.format("GetState")] * 12
    await slow
    assert await text_of(dobby.dobby("List")) == "([734], ['slow1'])"
    assert (await dobby.report())["leaked"] == 0


async def test_one_queue_holds_all_but_ping(dobby: Client, tmp_path: Path) -> None:
    """24_concurrency_slow_start_and_pool.

    During a slow start, Ping is answered at once; List and GetState after it, in order.
    """
    done: list[str] = []

    async def note(word: str, call: Any) -> None:
        await call
        done.append(word)

    slow = asyncio.create_task(
        note(
            "start", dobby.start_at_dobby(make_bundle(tmp_path, "slow-start", start="300"), "slow1")
        )
    )
    await dobby.until_dobby_has("StartFromBundle")
    calls = [
        note("list", dobby.dobby("List")),
        note("state", dobby.dobby("GetState", "i", 1)),
        note("ping", dobby.dobby("Ping", word="admin1")),
    ]
    await asyncio.gather(slow, *calls)
    assert done == ["ping", "start", "list", "state"]


async def test_started_reply_stopped_in_their_order(dobby: Client, tmp_path: Path) -> None:
    """22_order_statistics, and 23_self_exit_and_status for the statuses.

    Started precedes the reply of a start; the reply of a stop precedes StoppedWithStatus and
    Stopped.
    """
    assert await dobby.start_at_dobby(make_bundle(tmp_path, "sleep"), "a") == 734
    assert dobby.heard("Started") == [("Started", 734, "a")]
    for force, status in ((False, 15), (True, 9)):
        descriptor = 734 if not force else await dobby.start_at_dobby(tmp_path / "sleep", "a")
        before = len(dobby.heard("StoppedWithStatus", "Stopped"))
        assert await dobby.dobby("Stop", "ib", descriptor, force) == (True,)
        assert len(dobby.heard("StoppedWithStatus", "Stopped")) == before
        if force:  # not reaped yet, so the id is still in use
            assert await dobby.start_at_dobby(tmp_path / "sleep", "a") == -1
        await dobby.until_heard(before + 2, "StoppedWithStatus", "Stopped")
        assert dobby.heard("StoppedWithStatus", "Stopped")[before:] == [
            ("StoppedWithStatus", descriptor, "a", status),
            ("Stopped", descriptor, "a"),
        ]


async def test_descriptors_come_in_the_known_sequence(dobby: Client, tmp_path: Path) -> None:
    """35_descriptor_sequence. A start that fails late uses up a descriptor."""
    sleep, failing = (
        make_bundle(tmp_path, "sleep"),
        make_bundle(tmp_path, "create-fails", fail="failing"),
    )
    assert [await dobby.start_at_dobby(sleep, f"a{n}") for n in range(3)] == [734, 879, 439]
    assert await dobby.start_at_dobby(failing, "b") == -1
    assert [await dobby.start_at_dobby(sleep, f"c{n}") for n in range(3)] == [365, 182, 91]


@pytest.mark.parametrize(
    ("member", "signature", "rest"),
    [("GetInfo", "i", ()), ("Annotate", "iss", ("k", "v")), ("RemoveAnnotation", "is", ("k",))],
)
async def test_what_kills_it(
    client: Client,
    start_dobby: StartDobby,
    tmp_path: Path,
    member: str,
    signature: str,
    rest: tuple[str, ...],
) -> None:
    """14_no_rdkplugins_crash. The next Dobby has another unique name, and no containers."""
    await client.listen()
    process = start_dobby()
    await client.until_signal("Ready")
    descriptor = await client.start_at_dobby(
        make_bundle(tmp_path, "plain-oci", plugins=False), "np1"
    )
    with pytest.raises(ErrorReply, match="disconnected from message bus without replying"):
        await client.dobby(member, signature, descriptor, *rest)
    assert process.child.wait(10) == -9
    start_dobby()
    await client.until_heard(2, "Ready")
    assert await client.dobby("List") == ([], [])
    assert await client.start_at_dobby(tmp_path / "plain-oci", "np1") == 734


async def test_a_struct_hangs_it(dobby: Client) -> None:
    """36_odd_messages. Nothing is answered any more, not even Peer.Ping."""
    calls = [
        asyncio.create_task(dobby.dobby("GetState", "(i)", (1,))),
        asyncio.create_task(
            dobby.call("org.rdk.dobby", "/org/rdk/dobby", "org.freedesktop.DBus.Peer", "Ping")
        ),
    ]
    done, _ = await asyncio.wait(calls, timeout=1)
    assert not done
    for call in calls:
        call.cancel()


async def test_restart_on_crash_says_stopped_while_it_runs(dobby: Client) -> None:
    """31_restart_on_crash_and_open_spec."""
    spec = '{"version": "1.1", "args": ["x"], "memLimit": 1, "restartOnCrash": true}'
    (descriptor,) = await dobby.dobby("StartFromSpec", "ssah", "spr", spec, [])
    dobby.signals.clear()
    await dobby.control("Exits", "si", "spr", 1280)
    await dobby.until_signal("Stopped")
    assert [s[0] for s in dobby.heard("Started", "StoppedWithStatus", "Stopped")] == [
        "Started",
        "Started",
        "StoppedWithStatus",
        "Stopped",
    ]
    assert await dobby.dobby("List") == ([descriptor], ["spr"])


async def test_hibernation(dobby: Client, tmp_path: Path) -> None:
    """28b_hibernate_wakeup_with_fake_memcr."""
    descriptor = await dobby.start_at_dobby(make_bundle(tmp_path, "sleep"), "hib1")
    assert await dobby.dobby("Hibernate", "is", descriptor, "") == (True,)
    assert await dobby.dobby("GetState", "i", descriptor) == (5,)
    await dobby.until_signal("Hibernated", descriptor, "hib1")
    for member in ("Pause", "Resume"):
        assert await dobby.dobby(member, "i", descriptor) == (False,)
    assert await dobby.dobby("Wakeup", "i", descriptor) == (True,)
    assert await dobby.dobby("GetState", "i", descriptor) == (7,)
    await dobby.until_signal("Awoken", descriptor, "hib1")
    assert await dobby.dobby("GetState", "i", descriptor) == (2,)
