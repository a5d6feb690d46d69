# SPDX-License-Identifier: Apache-2.0
"""The interface on the system bus: as checked in, as introspected, and as another user sees it."""

import asyncio
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from ocibridge.access.rules import Rule
from ocibridge.bus.connection import Bus, NameTaken
from ocibridge.config.schema import Config
from ocibridge.daemon import Daemon
from ocibridge.names import (
    CONTAINER_INTERFACE,
    CONTAINER_PATH,
    INTERFACE,
    JSON_RPC_INTERFACE,
    OBJECT_PATH,
)
from ocibridge.systemd.journal import Journal
from tests.bus.conftest import StartDobby
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import BOUND, Client

POLICY = Path(__file__).parents[2] / "dbus-policy"
NOBODY = 65534


def canonical(interface: ET.Element) -> list[str]:
    """One line per member, in order, without white space and comments."""
    for element in interface.iter():
        element.text = element.tail = None
    return [ET.tostring(member, encoding="unicode") for member in interface]


@pytest.fixture
async def system(
    address: str, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """ocibridge on *the* system bus, where sd-bus itself checks privileges.

    Its rules allow `NOBODY` everything.
    """
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    config = Config(access=(Rule(methods=("*",), user=NOBODY),))
    daemon = Daemon(await Bus.open("system"), "test", config, Config, Journal("warning"))
    task = asyncio.create_task(daemon.run())
    await client.until_owned("org.rdk.OCIContainer")
    yield client
    daemon.stop()
    assert await asyncio.wait_for(task, BOUND) == 0


async def live(system: Client, path: str, interface: str) -> ET.Element:
    """An interface as introspection shows it."""
    (text,) = await system.call(
        "org.rdk.OCIContainer", path, "org.freedesktop.DBus.Introspectable", "Introspect"
    )
    (found,) = [e for e in ET.fromstring(text).iter("interface") if e.get("name") == interface]
    return found


@pytest.fixture
async def app_path(system: Client, start_dobby: StartDobby, tmp_path: Path) -> str:
    """The path of a container object."""
    start_dobby()
    await system.until_property("DobbyAvailable", wanted=True)
    await system.start("app", make_bundle(tmp_path, "sleep"))
    return f"{CONTAINER_PATH}/app"


async def test_the_files_are_what_the_bus_shows(system: Client, app_path: str) -> None:
    for path, interface in (
        (OBJECT_PATH, INTERFACE),
        (OBJECT_PATH, JSON_RPC_INTERFACE),
        (app_path, CONTAINER_INTERFACE),
    ):
        introspected = await live(system, path, interface)
        (filed,) = ET.parse(POLICY / f"{interface}.xml").getroot().iter("interface")
        assert canonical(introspected) == canonical(filed)


async def test_the_features(system: Client) -> None:
    assert await system.property("Features") == ["json-rpc-2"]


async def test_every_argument_has_a_name(system: Client, app_path: str) -> None:
    for path, interface in (
        (OBJECT_PATH, INTERFACE),
        (OBJECT_PATH, JSON_RPC_INTERFACE),
        (app_path, CONTAINER_INTERFACE),
    ):
        introspected = await live(system, path, interface)
        assert [e for e in introspected.iter("arg") if not e.get("name")] == []
        assert "Privileged" not in ET.tostring(introspected, encoding="unicode")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
async def test_another_user_gets_through_to_every_member(address: str, app_path: str) -> None:
    """On a system bus, sd-bus refuses other users each member without the "unprivileged" flag."""
    said: dict[tuple[str, str], str] = {}
    for path, interface in (
        (OBJECT_PATH, INTERFACE),
        (OBJECT_PATH, JSON_RPC_INTERFACE),
        (app_path, CONTAINER_INTERFACE),
    ):
        members = ET.parse(POLICY / f"{interface}.xml").getroot().iter("method")
        for member in sorted(members, key=lambda m: m.get("name") in {"stop", "stopContainer"}):
            signature = "".join(
                arg.get("type", "") for arg in member.iter("arg") if arg.get("direction") == "in"
            )
            values = [
                v
                for kind in signature.replace("as", "A")
                for v in {"s": ["x"], "b": ["false"], "A": ["0"], "t": ["1"]}[kind]
            ]
            call = [
                "busctl",
                f"--address={address}",
                "call",
                "org.rdk.OCIContainer",
                path,
                interface,
                member.get("name", ""),
            ]
            arguments = [*call, signature, *values] if signature else call
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(
                *arguments, user=NOBODY, group=NOBODY, stderr=pipe, stdout=pipe
            )
            out, err = await asyncio.wait_for(process.communicate(), BOUND)
            said[interface, member.get("name", "")] = (out + err).decode()
    refused = {
        call: text for call, text in said.items() if "denied" in text.lower() or "Unknown" in text
    }
    assert (refused, len(said)) == ({}, 31)


async def test_properties_cannot_be_written(oci: Client) -> None:
    for name in ("Version", "Features", "DobbyAvailable", "ContainerCount"):
        value = await oci.property(name)
        kind = {str: "s", list: "as", bool: "b", int: "u"}[type(value)]
        with pytest.raises(Exception, match="PropertyReadOnly"):
            await oci.call(
                "org.rdk.OCIContainer",
                OBJECT_PATH,
                "org.freedesktop.DBus.Properties",
                "Set",
                "ssv",
                INTERFACE,
                name,
                (kind, value),
            )


async def test_a_second_ocibridge_finds_the_name_taken(oci: Client, address: str) -> None:
    second = Daemon(await Bus.open(address), "test", Config(), Config, Journal("warning"))
    with pytest.raises(NameTaken, match=r"org\.rdk\.OCIContainer"):
        await second.run()
    assert await oci.oci("listContainers") == []
