# SPDX-License-Identifier: Apache-2.0
"""org.freedesktop.LogControl1, for systemctl service-log-level and service-log-target."""

import os
from collections.abc import Iterator

import pytest

from ocibridge.bus.connection import ErrorReply
from ocibridge.names import LOG_CONTROL, LOG_CONTROL_PATH, PROPERTIES
from tests.fake_dobby.client import Client

OCI = "org.rdk.OCIContainer"


async def get(client: Client) -> dict[str, str]:
    (found,) = await client.call(OCI, LOG_CONTROL_PATH, PROPERTIES, "GetAll", "s", LOG_CONTROL)
    return {name: value for name, (_, value) in found.items()}


async def put(client: Client, name: str, value: str) -> None:
    await client.call(
        OCI, LOG_CONTROL_PATH, PROPERTIES, "Set", "ssv", LOG_CONTROL, name, ("s", value)
    )


async def test_the_level(oci: Client, capfd: pytest.CaptureFixture[str]) -> None:
    assert await get(oci) == {
        "LogLevel": "debug",
        "LogTarget": "console",
        "SyslogIdentifier": "ocibridge",
    }
    await put(oci, "LogLevel", "err")
    assert (await get(oci))["LogLevel"] == "err"
    capfd.readouterr()
    await oci.refused("stopContainer", "sb", "nosuch", False)
    assert capfd.readouterr().err == ""
    await put(oci, "LogLevel", "info")
    await oci.oci("listContainers")
    assert f"log level set to info by uid {os.getuid()} (python" in capfd.readouterr().err
    await oci.refused("stopContainer", "sb", "nosuch", False)
    assert capfd.readouterr().err.count("stopContainer") == 1


@pytest.mark.parametrize(
    ("name", "value"), [("LogLevel", "loud"), ("LogLevel", ""), ("LogTarget", "printer")]
)
async def test_a_wrong_word(
    oci: Client, capfd: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    before = await get(oci)
    capfd.readouterr()
    with pytest.raises(ErrorReply) as refused:
        await put(oci, name, value)
    assert refused.value.name == "org.freedesktop.DBus.Error.InvalidArgs"
    assert refused.value.text.startswith(
        f'log {name.removeprefix("Log").lower()} "{value}": expected one of '
    )
    assert await get(oci) == before
    await oci.oci("listContainers")  # by now the former call has been logged
    logged = capfd.readouterr().err
    assert f'"{value}" by uid {os.getuid()} (python' in logged
    assert ": refused: expected one of " in logged
    assert "Traceback" not in logged


async def test_a_level_that_hides_everything_does_not_hide_who_set_it(
    oci: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    """A privileged caller may silence the log, but the change itself is logged.

    See docs/design.md, systemd and the journal.
    """
    capfd.readouterr()
    await put(oci, "LogLevel", "emerg")
    await oci.oci("listContainers")
    assert f"log level set to emerg by uid {os.getuid()}" in capfd.readouterr().err
    with pytest.raises(ErrorReply):
        await put(oci, "LogTarget", "nowhere")
    await oci.oci("listContainers")
    assert 'log target "nowhere"' in capfd.readouterr().err
    await put(oci, "LogTarget", "journal")
    await put(oci, "LogTarget", "console")
    await oci.oci("listContainers")
    assert "log target set to console" in capfd.readouterr().err


async def test_what_cannot_be_written(oci: Client) -> None:
    with pytest.raises(ErrorReply, match="PropertyReadOnly"):
        await put(oci, "SyslogIdentifier", "other")


async def test_the_target(oci: Client, capfd: pytest.CaptureFixture[str]) -> None:
    await put(oci, "LogTarget", "journal")
    capfd.readouterr()
    await oci.refused("stopContainer", "sb", "nosuch", False)
    assert capfd.readouterr().err == ""
    await put(oci, "LogTarget", "console")
    assert (await get(oci))["LogTarget"] == "console"


@pytest.fixture(autouse=True)
def no_lines_of_asyncio(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert not [record for record in caplog.records if record.name == "asyncio"]
