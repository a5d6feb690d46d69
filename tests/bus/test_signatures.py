# SPDX-License-Identifier: Apache-2.0
"""Replies and signals of Dobby with wrong D-Bus types.

In Python, `u` or `x` instead of `i` would look the same.
"""

import asyncio
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocibridge.bus import sd_bus
from ocibridge.bus.connection import Bus, Message
from ocibridge.bus.sd_bus import signature_of
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import BOUND, Client


@pytest.mark.parametrize("signature", ["u", "x", "y", "n"])
async def test_a_start_that_is_answered_with_another_integer(
    oci: Client, tmp_path: Path, signature: str
) -> None:
    await oci.control("AnswersInstead", "sss", "StartFromBundle", signature, "[73]")
    bundle = str(make_bundle(tmp_path, "sleep"))
    name, said = await oci.refused("startContainer", "ssssas", "app", bundle, "", "", [])
    assert (name, f'"{signature}"' in said, '"i"' in said) == ("DobbyRefused", True, True), said


async def test_a_state_that_is_answered_with_another_integer(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.control("AnswersInstead", "sss", "GetState", "u", "[4]")
    name, said = await oci.refused("getContainerState", "s", "app")
    assert (name, '"u"' in said) == ("DobbyRefused", True)
    assert await oci.oci("getContainerState", "s", "app") == ("app", "Running")


@pytest.mark.parametrize(
    ("member", "signature", "body"),
    [("Started", "us", '[91, "ghost"]'), ("Stopped", "xs", '[734, "app"]')],
)
async def test_a_signal_of_other_integers_changes_nothing(
    oci: Client, tmp_path: Path, member: str, signature: str, body: str
) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.control("Says", "sss", member, signature, body)
    assert await oci.oci("listContainers") == [(734, "app")]
    assert await oci.property("ContainerCount") == 1
    assert oci.heard("onContainerStarted", "onContainerStopped") == [
        ("onContainerStarted", 734, "app")
    ]


async def signal_with(address: str, client: Client, signature: str, *body: Any) -> Message:
    """A received signal with that signature."""
    got: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    await client.bus.watch(None, "/test", "org.rdk.test", None, got.set_result)
    sender = await Bus.open(address)
    sender.emit("/test", "org.rdk.test", "Test", signature, *body)
    try:
        return await asyncio.wait_for(got, BOUND)
    finally:
        sender.close()


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        ("i", (1,)),
        ("u", (1,)),
        ("aias", ([1], ["a"])),
        ("isi", (1, "a", 2)),
        ("a{sv}", ({"a": ("u", 1)},)),
        ("g", ("ai",)),
    ],
)
async def test_the_signature_of_a_message(
    address: str, client: Client, signature: str, body: tuple[Any, ...]
) -> None:
    message = await signal_with(address, client, signature, *body)
    assert signature_of(message) == signature
    message.parse_to_tuple()
    assert signature_of(message) == signature


async def test_the_signature_of_an_empty_message(client: Client) -> None:
    reply = await client.bus.call("org.freedesktop.DBus", "/", "org.freedesktop.DBus.Peer", "Ping")
    assert signature_of(reply) == ""


def no_symbols(_: str) -> object:
    """A shared object without the symbols of libsystemd."""
    return object()


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Clears the cached library before and after the test."""
    sd_bus.library.cache_clear()
    yield
    sd_bus.library.cache_clear()


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("change", ["version", "library", "layout"])
async def test_an_unknown_library_gives_no_signature(
    address: str, client: Client, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """No memory of unknown layout is read. Only the Python types are checked then."""
    message = await signal_with(address, client, "u", 1)
    if change == "version":
        monkeypatch.setattr(sd_bus, "KNOWN_VERSION", "0.14.4")
    elif change == "library":
        monkeypatch.setattr(ctypes, "PyDLL", no_symbols)
    else:
        monkeypatch.setattr(sd_bus, "PYTHON_HEAD_BYTES", 12)
    sd_bus.library.cache_clear()
    assert signature_of(message) is None
