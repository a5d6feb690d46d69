"""The interface as the system bus shows it: the checked-in file, what lives on the bus, and who gets through."""

import asyncio
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from ocibridge.bus import Bus, NameTaken
from ocibridge.config import Config
from ocibridge.daemon import Daemon
from ocibridge.names import INTERFACE, OBJECT_PATH
from tests.standin.client import BOUND, Client

FILE = Path(__file__).parents[2] / "dbus-policy" / f"{INTERFACE}.xml"
NOBODY = 65534


def canonical(interface: ET.Element) -> list[str]:
    """One line a member, in their order, white space and comments apart."""
    for element in interface.iter():
        element.text = element.tail = None
    return [ET.tostring(member, encoding="unicode") for member in interface]


@pytest.fixture
async def system(address: str, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """ocibridge with its bus opened as *the* system bus, where sd-bus checks privileges by itself."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    daemon = Daemon(await Bus.open("system"), "test", Config())
    task = asyncio.create_task(daemon.run())
    await client.until_owned("org.rdk.OCIContainer")
    yield client
    daemon.stop()
    assert await asyncio.wait_for(task, BOUND) == 0


async def test_the_file_is_what_the_bus_shows(system: Client) -> None:
    (text,) = await system.call("org.rdk.OCIContainer", OBJECT_PATH, "org.freedesktop.DBus.Introspectable", "Introspect")
    (live,) = [e for e in ET.fromstring(text).iter("interface") if e.get("name") == INTERFACE]
    (filed,) = ET.parse(FILE).getroot().iter("interface")
    assert canonical(live) == canonical(filed)


async def test_every_argument_has_a_name(system: Client) -> None:
    (text,) = await system.call("org.rdk.OCIContainer", OBJECT_PATH, "org.freedesktop.DBus.Introspectable", "Introspect")
    ours = next(e for e in ET.fromstring(text).iter("interface") if e.get("name") == INTERFACE)
    assert [e for e in ours.iter("arg") if not e.get("name")] == []
    assert "Privileged" not in ET.tostring(ours, encoding="unicode")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.usefixtures("system")
async def test_another_user_gets_through_to_every_member(address: str) -> None:
    """sd-bus refuses callers of another uid every member that is not flagged, on a system bus alone."""
    for member in ET.parse(FILE).getroot().iter("method"):
        signature = "".join(arg.get("type", "") for arg in member.iter("arg") if arg.get("direction") == "in")
        values = [v for kind in signature.replace("as", "A") for v in {"s": ["x"], "b": ["false"], "A": ["0"]}[kind]]
        call = ["busctl", f"--address={address}", "call", "org.rdk.OCIContainer", OBJECT_PATH, INTERFACE, member.get("name", "")]
        arguments = [*call, signature, *values] if signature else call
        process = await asyncio.create_subprocess_exec(*arguments, user=NOBODY, group=NOBODY, stderr=asyncio.subprocess.PIPE)
        _, said = await asyncio.wait_for(process.communicate(), BOUND)
        assert b"denied" not in said.lower(), member.get("name")
        assert b"Dobby" in said or b"must be" in said, said


async def test_properties_cannot_be_written(oci: Client) -> None:
    for name in ("Version", "DobbyAvailable", "ContainerCount"):
        value = await oci.property(name)
        kind = {str: "s", bool: "b", int: "u"}[type(value)]
        with pytest.raises(Exception, match="PropertyReadOnly"):
            await oci.call(
                "org.rdk.OCIContainer", OBJECT_PATH, "org.freedesktop.DBus.Properties", "Set", "ssv", INTERFACE, name, (kind, value)
            )


async def test_a_second_ocibridge_finds_the_name_taken(oci: Client, address: str) -> None:
    second = Daemon(await Bus.open(address), "test", Config())
    with pytest.raises(NameTaken, match=r"org\.rdk\.OCIContainer"):
        await second.run()
    assert await oci.oci("listContainers") == []
