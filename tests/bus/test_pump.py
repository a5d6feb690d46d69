# SPDX-License-Identifier: Apache-2.0
"""The connection's own dispatch: bounded turns, budgets per sender, and the fallback without it."""

import asyncio
import ctypes
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sdbus import sd_bus_internals as sd

from ocibridge.bus import budgets as budgets_module
from ocibridge.bus import pump, sd_bus
from ocibridge.bus.budgets import COUNT_SECONDS, MAX_ACCOUNTS, SHARE, Budgets
from ocibridge.bus.connection import Bus, ErrorReply, path_of
from ocibridge.bus.pump import ADVANCE_SECONDS, Pump
from ocibridge.names import (
    CONTAINER_INTERFACE,
    CONTAINER_PATH,
    INTERFACE,
    LOG_CONTROL,
    LOG_CONTROL_PATH,
    OBJECT_PATH,
    PROPERTIES,
)
from tests.bus.conftest import StartBridge, StartDobby
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client

OURS = "org.rdk.OCIContainer"


@pytest.fixture
def unchecked() -> Iterator[None]:
    """The bus library is checked again in this test, and after it."""
    sd_bus.library.cache_clear()
    yield
    sd_bus.library.cache_clear()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_connection_has_an_advance_and_a_share() -> None:
    clock = Clock()
    budgets = Budgets(clock)
    assert not budgets.is_spent(b":1.1", ADVANCE_SECONDS)
    budgets.charge(b":1.1", ADVANCE_SECONDS / 2)
    assert not budgets.is_spent(b":1.1", ADVANCE_SECONDS)
    budgets.charge(b":1.1", ADVANCE_SECONDS)
    assert budgets.is_spent(b":1.1", ADVANCE_SECONDS)
    assert not budgets.is_spent(b":1.2", ADVANCE_SECONDS)
    clock.now += ADVANCE_SECONDS / 2 / SHARE * 0.99
    assert budgets.is_spent(b":1.1", ADVANCE_SECONDS)
    clock.now += ADVANCE_SECONDS / 2 / SHARE * 0.02
    assert not budgets.is_spent(b":1.1", ADVANCE_SECONDS)


def test_budgets_are_few() -> None:
    budgets = Budgets(Clock())
    for number in range(MAX_ACCOUNTS + 10):
        budgets.charge(b":1.%d" % number, 1.0)
    assert not budgets.is_spent(b":1.0", ADVANCE_SECONDS)
    assert budgets.is_spent(b":1.%d" % (MAX_ACCOUNTS + 9), ADVANCE_SECONDS)


async def test_a_burst_does_not_keep_the_loop(
    address: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 200 pending signals, each loop iteration takes 10. Other callbacks run in between."""
    monkeypatch.setattr(pump, "TURN_MESSAGES", 10)
    monkeypatch.setattr(pump, "TURN_SECONDS", 1e9)
    listener = await Bus.open(address)
    heard: list[int] = []
    turns: list[int] = []
    done = asyncio.Event()

    def seen(message: Any) -> None:
        heard.append(message.get_contents())
        if len(heard) == 200:
            done.set()

    def turn() -> None:
        turns.append(len(heard))
        if not done.is_set():
            asyncio.get_running_loop().call_soon(turn)

    await listener.watch(None, "/burst", "org.example.Burst", "Number", seen)
    connection = listener._connection
    asyncio.get_running_loop().remove_reader(connection.get_fd())
    for number in range(200):
        client.bus.emit("/burst", "org.example.Burst", "Number", "i", number)
    await client.bus.driver("GetId")  # by now they are in the listener's socket
    asyncio.get_running_loop().call_soon(turn)
    connection.process()
    async with asyncio.timeout(15):
        await done.wait()
    assert heard == list(range(200))
    assert max(after - before for before, after in pairwise(turns)) <= 20
    listener.close()


async def test_a_sender_over_its_budget_is_refused_and_others_are_not(
    oci: Client, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "MAX_LONE_BACKLOG", -1)  # as if others waited
    monkeypatch.setattr(pump, "MAX_BACKLOG", -1)
    monkeypatch.setattr(pump, "BACKLOG_ADVANCE_SECONDS", 1e-9)
    monkeypatch.setattr(budgets_module, "SHARE", 0.0)
    other = Client(await Bus.open(address))
    assert await other.objects() == {}
    for path, interface, member, signature, *arguments in (
        (OBJECT_PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", ""),
        (OBJECT_PATH, "org.freedesktop.DBus.Introspectable", "Introspect", ""),
        (OBJECT_PATH, PROPERTIES, "GetAll", "s", INTERFACE),
        (OBJECT_PATH, PROPERTIES, "Get", "ss", INTERFACE, "Version"),
    ):
        with pytest.raises(ErrorReply) as refused:
            await other.call(OURS, path, interface, member, signature, *arguments)
        assert refused.value.name == "org.freedesktop.DBus.Error.LimitsExceeded"
        assert (
            refused.value.text
            == "too many calls of this connection at once; read the replies, then ask again"
        )
    assert await other.oci("listContainers") == []
    third = Client(await Bus.open(address))
    assert await third.property("ContainerCount") == 0
    assert await oci.oci("listContainers") == []
    third.bus.close()
    other.bus.close()


async def test_a_sender_that_awaits_each_reply_is_never_refused(
    oci: Client, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one call in flight it delays nobody, whatever its answers cost."""
    monkeypatch.setattr(pump, "ADVANCE_SECONDS", 1e-9)
    monkeypatch.setattr(budgets_module, "SHARE", 0.0)
    assert await oci.oci("listContainers") == []
    other = Client(await Bus.open(address))
    for _ in range(50):
        assert await other.objects() == {}
    other.bus.close()


async def test_a_sender_that_is_alone_is_not_refused(
    oci: Client, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many calls in flight delay nobody either, if nobody else calls."""
    monkeypatch.setattr(pump, "ADVANCE_SECONDS", 1e-9)
    monkeypatch.setattr(budgets_module, "SHARE", 0.0)
    monkeypatch.setattr(pump, "CONTENDED_SECONDS", 0.0)
    assert await oci.oci("listContainers") == []
    other = Client(await Bus.open(address))
    assert (
        await asyncio.gather(*(other.property("ContainerCount") for _ in range(100))) == [0] * 100
    )
    other.bus.close()


def test_connections_in_debt_divide_the_share_and_the_advance() -> None:
    clock = Clock()
    budgets = Budgets(clock)
    for sender in (b":1.1", b":1.2"):
        budgets.charge(sender, ADVANCE_SECONDS * 0.9)
    clock.now += COUNT_SECONDS * 1.01
    assert budgets.is_spent(b":1.1", ADVANCE_SECONDS)  # of half of it
    assert budgets.is_spent(b":1.2", ADVANCE_SECONDS)
    alone = Budgets(clock)
    alone.charge(b":1.1", ADVANCE_SECONDS * 0.9)
    clock.now += COUNT_SECONDS * 1.01
    assert not alone.is_spent(b":1.1", ADVANCE_SECONDS)


@pytest.mark.usefixtures("unchecked")
async def test_without_it_everything_is_served_all_the_same(
    client: Client,
    start_dobby: StartDobby,
    start_bridge: StartBridge,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
) -> None:
    """With an unknown libsystemd, python-sdbus drives the connection.

    This is logged once, and everything is still served.
    """
    monkeypatch.setitem(sd_bus.SYMBOLS, "sd_bus_no_such_function", (None, []))
    sd_bus.library.cache_clear()
    start_dobby()
    daemon = await start_bridge()
    assert daemon._bus._pump is None
    assert capfd.readouterr().err.count("python-sdbus is not the expected 0.14.3") == 1
    await client.until_property("DobbyAvailable", wanted=True)
    await client.start(
        "app", make_bundle(tmp_path, "sleep", info='{"x": "' + "y" * (1 << 20) + '"}')
    )
    assert len((await client.oci("getContainerInfo", "s", "app"))["x"][1]) == 1 << 20
    with pytest.raises(ErrorReply) as refused:
        await client.call(
            OURS, LOG_CONTROL_PATH, PROPERTIES, "Set", "ssv", LOG_CONTROL, "LogLevel", ("s", "loud")
        )
    assert refused.value.name == "org.freedesktop.DBus.Error.InvalidArgs"


@pytest.mark.usefixtures("unchecked")
async def test_it_is_not_attached_to_another_library(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = client.bus._connection
    assert Pump.attach(connection) is not None
    struct = sd_bus.struct_of(connection)
    loop, struct.loop = struct.loop, 1
    try:
        assert Pump.attach(connection) is None
    finally:
        struct.loop = loop
    monkeypatch.setattr(ctypes, "sizeof", lambda _: 41)
    sd_bus.library.cache_clear()
    assert Pump.attach(connection) is None
    assert sd.SdBus.__basicsize__ > 41


async def test_unwanted_reads_are_dropped_by_one_rule_for_all_containers(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> None:
    """The rule is there from the first such call on. The bus allows a connection 512 rules."""
    start_dobby()
    daemon = await start_bridge()
    await client.until_property("DobbyAvailable", wanted=True)
    for container_id in ("a", "b"):
        await client.start(container_id, make_bundle(tmp_path, container_id))
    pump_ = daemon._bus._pump
    assert pump_._dropped == set()
    for container_id in ("a", "b", "a"):
        path = path_of(CONTAINER_PATH, container_id)
        call = client.bus._connection.new_method_call_message(
            OURS, path, CONTAINER_INTERFACE, "waitForState"
        )
        call.append_data("st", "Paused", 0)
        call.expect_reply = False
        client.bus.send(call)
        assert await client.on(container_id, "waitForState", "st", "Running", 0) == "Running"
        assert pump_._dropped == {(CONTAINER_INTERFACE, "waitForState")}
    assert daemon._dispatcher._under_way == {}
