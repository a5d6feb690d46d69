# SPDX-License-Identifier: Apache-2.0
"""The process: its start and end, signals, the bus name, and the bus."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.busctl import busctl, start_slowly
from tests.daemon.conftest import StartBridge
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.processes import Process, fake_dobby, ocibridge, private_bus, until_owned

BOUND = 15


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_zero(
    address: str, start: StartBridge, tmp_path: Path, number: int
) -> None:
    bridge = start()
    until_owned(address)
    bridge.child.send_signal(number)
    assert bridge.child.wait(BOUND) == 0
    assert (tmp_path / "log").read_text().splitlines()[-1] == "ocibridge: info: stopping"


def test_a_call_under_way_may_end(address: str, start: StartBridge, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, "slow-start", start="1000")
    with fake_dobby(address):
        until_owned(address, "org.rdk.dobby")
        bridge = start()
        until_owned(address)
        call = start_slowly(address, bundle)
        bridge.child.terminate()
        assert call.communicate(timeout=BOUND)[0] == "i 734\n"
        assert bridge.child.wait(BOUND) == 0


def test_the_name_taken(address: str, start: StartBridge, tmp_path: Path) -> None:
    start()
    until_owned(address)
    second = start()
    assert second.child.wait(BOUND) == os.EX_UNAVAILABLE
    assert "org.rdk.OCIContainer belongs to another process" in (tmp_path / "log").read_text()
    assert "DobbyUnavailable" in gdbus_error(address)


def gdbus_error(address: str) -> str:
    command = [
        "gdbus",
        "call",
        "--session",
        "-d",
        "org.rdk.OCIContainer",
        "-o",
        "/org/rdk/OCIContainer",
        "-m",
    ]
    done = subprocess.run(
        [*command, "org.rdk.OCIContainer1.listContainers"],
        env=os.environ | {"DBUS_SESSION_BUS_ADDRESS": address},
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    return done.stderr


def test_the_bus_lost(tmp_path: Path) -> None:
    """With calls in flight. There is no traceback, and the exit code makes systemd restart it."""
    bundle = make_bundle(tmp_path, "slow-start", start="60000")
    with (tmp_path / "log").open("wb") as log:
        with private_bus() as address, fake_dobby(address):
            until_owned(address, "org.rdk.dobby")
            bridge = ocibridge(
                address, environment={"RUNTIME_DIRECTORY": str(tmp_path)}, stderr=log
            )
            until_owned(address)
            call = start_slowly(address, bundle)
        with bridge:
            assert bridge.child.wait(BOUND) == os.EX_UNAVAILABLE
        assert call.communicate(timeout=BOUND)[0] == ""
    said = (tmp_path / "log").read_text()
    assert "the bus has closed the connection" in said
    assert "Traceback" not in said
    assert "never retrieved" not in said


def test_a_log_that_nobody_reads_any_more(address: str, tmp_path: Path) -> None:
    """A closed stderr loses the log and nothing else."""
    read, write = os.pipe()
    with (
        fake_dobby(address),
        ocibridge(address, environment={"RUNTIME_DIRECTORY": str(tmp_path)}, stderr=write),
    ):
        os.close(write)
        until_owned(address, "org.rdk.dobby")
        until_owned(address)
        os.close(read)
        while busctl(address, "listContainers").returncode != 0:
            pass
        assert (
            busctl(
                address,
                "startContainer",
                "ssssas",
                "app",
                str(make_bundle(tmp_path, "sleep")),
                "",
                "",
                "0",
            ).stdout
            == "i 734\n"
        )
        assert busctl(address, "listContainers").stdout == 'a(is) 1 734 "app"\n'


def test_a_hung_file_system_does_not_keep_it_from_ending(address: str, tmp_path: Path) -> None:
    hang = (
        "import os, time; os.listdir = lambda path: time.sleep(60); import sys; from ocibridge.cli "
        "import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", hang, "--bus", address]
    with (
        fake_dobby(address),
        Process(command, {"RUNTIME_DIRECTORY": str(tmp_path)}, stderr=subprocess.DEVNULL) as bridge,
    ):
        until_owned(address, "org.rdk.dobby")
        until_owned(address)
        while busctl(address, "listContainers").returncode != 0:
            pass
        busctl(address, "--timeout=0.5", "startContainer", "ssssas", "app", "/hung", "", "", "0")
        bridge.child.terminate()
        assert bridge.child.wait(BOUND) == 0


def test_another_callsign_and_another_dobby(
    address: str, start: StartBridge, tmp_path: Path
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "callsign: org.example.Containers\ndobby: {service: org.example.dobby, object: "
        "/org/example/dobby}\n"
    )
    start("--config", str(file))
    until_owned(address, "org.example.Containers")


def test_nothing_is_logged_twice(address: str, start: StartBridge, tmp_path: Path) -> None:
    with fake_dobby(address):
        until_owned(address, "org.rdk.dobby")
        start()
        until_owned(address)
        bundle = str(make_bundle(tmp_path, "sleep"))
        busctl(address, "startContainer", "ssssas", "app", bundle, "", "", "0")
        busctl(address, "stopContainer", "sb", "nosuch", "false")
        busctl(address, "getContainerState", "s", "nosuch")
        busctl(address, "stopContainer", "sb", "app", "false")
    for _ in range(20):
        busctl(address, "stopContainer", "sb", "absent", "false")
    assert "uid -1" not in (tmp_path / "log").read_text()
    lines: list[Any] = (tmp_path / "log").read_text().splitlines()
    found = [line for line in lines if '"app"' in line or '"nosuch"' in line]
    assert [line.split(" by uid ")[0] for line in found] == [
        'ocibridge: info: container "app" is there (Running), descriptor 734',
        'ocibridge: info: startContainer "app"',
        'ocibridge: warning: stopContainer "nosuch"',
        (
            'ocibridge: info: container "app" was killed by signal 15,'
            f" as uid {os.getuid()} (busctl) requested"
        ),
        'ocibridge: info: stopContainer "app"',
    ]
    # The caller is known even where a quick refusal lets it disconnect before it is identified.
    assert [line.split(" by ")[1].split(",")[0] for line in found if " by uid " in line] == [
        f"uid {os.getuid()} (busctl)"
    ] * 3
