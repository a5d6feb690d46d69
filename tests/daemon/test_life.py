"""The program's own life: begin and end, signals, the name, the bus."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.conftest import StartBridge
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.processes import Process, ocibridge, private_bus, standin_dobby

BOUND = 15


def wait_for_name(address: str, name: str = "org.rdk.OCIContainer") -> None:
    subprocess.run(
        ["gdbus", "wait", "--session", f"--timeout={BOUND}", name],
        env=os.environ | {"DBUS_SESSION_BUS_ADDRESS": address},
        check=True,
    )


def busctl(
    address: str, *arguments: str, timeout: float = BOUND
) -> subprocess.CompletedProcess[str]:
    manager = ["org.rdk.OCIContainer", "/org/rdk/OCIContainer", "org.rdk.OCIContainer1"]
    options = [a for a in arguments if a.startswith("--")]
    command = [
        "busctl",
        f"--address={address}",
        *options,
        "call",
        *manager,
        *arguments[len(options) :],
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_zero(
    address: str, start: StartBridge, tmp_path: Path, number: int
) -> None:
    bridge = start()
    wait_for_name(address)
    bridge.child.send_signal(number)
    assert bridge.child.wait(BOUND) == 0
    assert (tmp_path / "log").read_text().splitlines()[-1] == "ocibridge: info: stopping"


def test_a_call_under_way_may_end(address: str, start: StartBridge, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, "slow-start", start="1000")
    with standin_dobby(address):
        wait_for_name(address, "org.rdk.dobby")
        bridge = start()
        wait_for_name(address)
        command = [
            "busctl",
            f"--address={address}",
            "call",
            "org.rdk.OCIContainer",
            "/org/rdk/OCIContainer",
            "org.rdk.OCIContainer1",
        ]
        call = subprocess.Popen(
            [*command, "startContainer", "ssssas", "slow", str(bundle), "", "", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        while "Starting" not in busctl(address, "getContainerState", "s", "slow").stdout:
            assert call.poll() is None
        bridge.child.terminate()
        assert call.communicate(timeout=BOUND)[0] == "i 734\n"
        assert bridge.child.wait(BOUND) == 0


def test_the_name_taken(address: str, start: StartBridge, tmp_path: Path) -> None:
    start()
    wait_for_name(address)
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
    """Also with calls under way: no traceback, and the exit code that makes systemd start it again."""
    bundle = make_bundle(tmp_path, "slow-start", start="60000")
    with (tmp_path / "log").open("wb") as log:
        with private_bus() as address, standin_dobby(address):
            wait_for_name(address, "org.rdk.dobby")
            bridge = ocibridge(
                address, environment={"RUNTIME_DIRECTORY": str(tmp_path)}, stderr=log
            )
            wait_for_name(address)
            busctl(
                address,
                "--timeout=0.5",
                "startContainer",
                "ssssas",
                "slow",
                str(bundle),
                "",
                "",
                "0",
            )
            assert "Starting" in busctl(address, "getContainerState", "s", "slow").stdout
        with bridge:
            assert bridge.child.wait(BOUND) == os.EX_UNAVAILABLE
    said = (tmp_path / "log").read_text()
    assert "the bus has closed the connection" in said
    assert "Traceback" not in said
    assert "never retrieved" not in said


def test_a_log_that_nobody_reads_any_more(address: str, tmp_path: Path) -> None:
    """A closed stderr loses the log, and nothing else."""
    read, write = os.pipe()
    with (
        standin_dobby(address),
        ocibridge(address, environment={"RUNTIME_DIRECTORY": str(tmp_path)}, stderr=write),
    ):
        os.close(write)
        wait_for_name(address, "org.rdk.dobby")
        wait_for_name(address)
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
    hang = "import os, time; os.listdir = lambda path: time.sleep(60); import sys; from ocibridge.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", hang, "--bus", address]
    with (
        standin_dobby(address),
        Process(command, {"RUNTIME_DIRECTORY": str(tmp_path)}, stderr=subprocess.DEVNULL) as bridge,
    ):
        wait_for_name(address, "org.rdk.dobby")
        wait_for_name(address)
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
        "callsign: org.example.Containers\ndobby: {service: org.example.dobby, object: /org/example/dobby}\n"
    )
    start("--config", str(file))
    wait_for_name(address, "org.example.Containers")


def test_nothing_is_logged_twice(address: str, start: StartBridge, tmp_path: Path) -> None:
    with standin_dobby(address):
        wait_for_name(address, "org.rdk.dobby")
        start()
        wait_for_name(address)
        bundle = str(make_bundle(tmp_path, "sleep"))
        busctl(address, "startContainer", "ssssas", "app", bundle, "", "", "0")
        busctl(address, "stopContainer", "sb", "nosuch", "false")
        busctl(address, "getContainerState", "s", "nosuch")
        busctl(address, "stopContainer", "sb", "app", "false")
    for _ in range(20):
        busctl(address, "stopContainer", "sb", "absent", "false")
    assert "uid -1" not in (tmp_path / "log").read_text()
    lines: list[Any] = (tmp_path / "log").read_text().splitlines()
    told = [line for line in lines if '"app"' in line or '"nosuch"' in line]
    assert [line.split(" by uid ")[0] for line in told] == [
        'ocibridge: info: container "app" is there (Running), descriptor 734',
        'ocibridge: info: startContainer "app"',
        'ocibridge: warning: stopContainer "nosuch"',
        f'ocibridge: info: container "app" was killed by signal 15, as uid {os.getuid()} (busctl) requested',
        'ocibridge: info: stopContainer "app"',
    ]
    # Who asked, also where the refusal was so quick that the caller could have left before anybody asked who it was.
    assert [line.split(" by ")[1].split(",")[0] for line in told if " by uid " in line] == [
        f"uid {os.getuid()} (busctl)"
    ] * 3
