# SPDX-License-Identifier: Apache-2.0
"""SIGHUP, and what systemd receives (sd_notify(3)).

A socket of the test plays systemd.
"""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.busctl import busctl, busctl_command, start_slowly
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.processes import Process, fake_dobby, ocibridge, until_owned

BOUND = 15
NAME = "org.rdk.OCIContainer"
Notified = Callable[[str], list[str]]


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(str(tmp_path / "notify"))
        notifications.settimeout(BOUND)
        yield notifications


@pytest.fixture
def notified(systemd: socket.socket) -> Notified:
    def until(last: str) -> list[str]:
        """The notifications up to the one that contains `last`."""
        messages: list[str] = []
        while not messages or last not in messages[-1]:
            messages.append(systemd.recv(4096).decode())
        return messages

    return until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "c.yaml"
    file.write_text("timeouts: {stop: 9s}")
    return file


@pytest.fixture
def bridge(address: str, systemd: socket.socket, file: Path, tmp_path: Path) -> Iterator[Process]:
    environment = {"RUNTIME_DIRECTORY": str(tmp_path), "NOTIFY_SOCKET": systemd.getsockname()}
    with (
        (tmp_path / "log").open("wb") as log,
        ocibridge(address, "--config", str(file), environment=environment, stderr=log) as bridge,
    ):
        yield bridge


def test_the_notifications_of_a_run(
    address: str, bridge: Process, notified: Notified, tmp_path: Path
) -> None:
    assert notified("READY=1") == [
        "STATUS=looking for org.rdk.dobby\nEXTEND_TIMEOUT_USEC=40000000",
        "READY=1\nSTATUS=waiting for org.rdk.dobby",
    ]
    with fake_dobby(address) as dobby:
        assert notified("ready")[-1] == "STATUS=ready, 0 containers"
        busctl(
            address,
            "startContainer",
            "ssssas",
            "app",
            str(make_bundle(tmp_path, "sleep")),
            "",
            "",
            "0",
        )
        assert notified("1 container") == ["STATUS=ready, 1 container"]
        dobby.kill()
        assert notified("waiting") == ["STATUS=waiting for org.rdk.dobby"]
    bridge.child.terminate()
    assert notified("STOPPING=1") == ["STOPPING=1\nSTATUS=stopping; calls in flight may finish"]
    assert bridge.child.wait(BOUND) == 0


def test_a_good_configuration(
    address: str, bridge: Process, notified: Notified, file: Path, tmp_path: Path
) -> None:
    notified("READY=1")
    file.write_text("limits: {per_caller: 1}\nlog: {level: debug}")
    bridge.child.send_signal(signal.SIGHUP)
    reloading, ready = notified("READY=1")
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert ready == "READY=1\nSTATUS=waiting for org.rdk.dobby"
    busctl(address, "getContainerState", "s", "nosuch")  # logged at level debug only
    assert "getContainerState refused" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    "text", ["limits: {queued: many}", "{", "nonsense: 1", 'limits: {queued: !!int ""}']
)
def test_a_bad_configuration(
    address: str, bridge: Process, notified: Notified, file: Path, tmp_path: Path, text: str
) -> None:
    """The old one stays.

    The log says so, and the status too, as long as the new one is invalid.
    """
    notified("READY=1")
    file.write_text(text)
    bridge.child.send_signal(signal.SIGHUP)
    assert notified("READY=1")[-1].endswith(
        "STATUS=waiting for org.rdk.dobby; the new configuration is refused, the old one stays"
    )
    (line,) = [line for line in (tmp_path / "log").read_text().splitlines() if "refused" in line]
    assert line.startswith(
        f"ocibridge: error: the new configuration is refused, the old one stays: {file}: "
    )
    with fake_dobby(address):
        assert "ready, 0 containers; the new configuration is refused" in notified("ready")[-1]
        file.write_text("")
        bridge.child.send_signal(signal.SIGHUP)
        assert notified("READY=1")[-1].endswith("STATUS=ready, 0 containers")


def test_a_reload_that_fails_unforeseen_is_ready_again(
    address: str, systemd: socket.socket, notified: Notified, file: Path, tmp_path: Path
) -> None:
    """systemd waits for READY=1 after RELOADING=1, so it must follow in any case."""
    program = f"""
import sys
from ocibridge import cli
load = cli.load
def once(files, calls=[]):
    calls.append(1)
    if len(calls) > 1:
        raise IndexError("nobody foresaw this")
    return load(files)
cli.load = once
sys.exit(cli.main(["--bus", {address!r}, "--config", {str(file)!r}]))
"""
    environment = {"RUNTIME_DIRECTORY": str(tmp_path), "NOTIFY_SOCKET": systemd.getsockname()}
    with (
        (tmp_path / "log").open("wb") as log,
        Process([sys.executable, "-c", program], environment, stderr=log) as bridge,
    ):
        notified("READY=1")
        bridge.child.send_signal(signal.SIGHUP)
        assert notified("READY=1")[-1].endswith(
            "; the new configuration is refused, the old one stays"
        )
        assert "IndexError: nobody foresaw this" in (tmp_path / "log").read_text()
        assert "Dobby is not on the bus" in busctl(address, "listContainers").stderr


def test_what_needs_a_restart(
    address: str, bridge: Process, notified: Notified, file: Path, tmp_path: Path
) -> None:
    notified("READY=1")
    file.write_text("callsign: org.example.Other")
    bridge.child.send_signal(signal.SIGHUP)
    assert notified("READY=1")[-1].endswith(
        "STATUS=waiting for org.rdk.dobby; restart to change callsign"
    )
    assert "changes of callsign need a restart" in (tmp_path / "log").read_text()
    assert "Dobby is not on the bus" in busctl(address, "listContainers").stderr  # by the old name


def test_waits_end_at_once_when_it_stops(
    address: str, bridge: Process, notified: Notified, tmp_path: Path
) -> None:
    """Both those in flight and those that still arrive by our unique name. A slow start may end."""
    with fake_dobby(address):
        until_owned(address, "org.rdk.dobby")
        notified("ready,")
        wait = ["waitForState", "sst", "nosuch", "Running", "0"]
        bundle = make_bundle(tmp_path, "slow-start", start="2000")
        unique = unique_name(address)
        waiting = subprocess.Popen(
            busctl_command(address, *wait), stderr=subprocess.PIPE, text=True
        )
        start = start_slowly(address, bundle)
        bridge.child.terminate()
        assert waiting.communicate(timeout=BOUND)[1] == "Call failed: ocibridge is stopping\n"
        late = subprocess.run(
            busctl_command(address, *wait, to=unique),
            capture_output=True,
            text=True,
            timeout=BOUND,
            check=False,
        )
        assert late.stderr == "Call failed: ocibridge is stopping\n"
        assert start.communicate(timeout=BOUND)[0] == "i 734\n"
        assert bridge.child.wait(BOUND) == 0


def test_a_batch_is_cut_short_when_it_stops(
    address: str, bridge: Process, notified: Notified, tmp_path: Path
) -> None:
    """A request in flight has 5 s. Later ones in the batch are not begun. Each gets an answer."""
    with fake_dobby(address):
        until_owned(address, "org.rdk.dobby")
        notified("ready,")
        bundle = make_bundle(tmp_path, "slow-start", start="60000")
        batch = [
            {
                "jsonrpc": "2.0",
                "id": n,
                "method": "startContainer",
                "params": {"containerId": f"slow{n}", "bundlePath": str(bundle)},
            }
            for n in range(2)
        ]
        invoke = [
            "busctl",
            f"--address={address}",
            "--json=short",
            "call",
            NAME,
            "/org/rdk/OCIContainer",
        ]
        request = [*invoke, "org.rdk.OCIContainer1.JsonRpc", "invoke", "s", json.dumps(batch)]
        invoked = subprocess.Popen(request, stdout=subprocess.PIPE, text=True)
        while "Starting" not in busctl(address, "getContainerState", "s", "slow0").stdout:
            assert invoked.poll() is None
        bridge.child.terminate()
        answers = json.loads(json.loads(invoked.communicate(timeout=BOUND)[0])["data"][0])
        assert [each["error"]["data"]["reason"] for each in answers] == [
            "ocibridge is stopping"
        ] * 2
        assert bridge.child.wait(BOUND) == 0


def unique_name(address: str) -> str:
    status = subprocess.check_output(["busctl", f"--address={address}", "status", NAME], text=True)
    return next(
        line.partition("=")[2] for line in status.splitlines() if line.startswith("UniqueName=")
    )
