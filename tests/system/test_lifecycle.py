# SPDX-License-Identifier: Apache-2.0
"""Started, stopped, reloaded, killed and activated by a real systemd."""

import subprocess
from collections.abc import Callable

import pytest

from tests.system.conftest import CALL, Box

Background = Callable[..., "subprocess.Popen[str]"]
BOUND = 60


def test_started_by_boot(booted: Box) -> None:
    assert booted.run("systemctl is-system-running --wait") == "running"
    assert booted.show("ocibridge", "ActiveState", "NRestarts", "Result") == [
        "active",
        "0",
        "success",
    ]
    assert booted.run("systemctl is-enabled dbus-org.rdk.OCIContainer.service") == "alias"
    assert booted.oci("listContainers") == "a(is) 0"


def test_the_status_line(box: Box) -> None:
    assert box.status() == "ready, 0 containers"
    box.start("app")
    assert box.status() == "ready, 1 container"
    assert 'Status: "ready, 1 container"' in box.run("systemctl status ocibridge")


def test_stopped_and_started_by_systemctl(box: Box) -> None:
    box.run("systemctl stop ocibridge")
    assert box.show("ocibridge", "ActiveState", "Result", "ExecMainStatus") == [
        "inactive",
        "success",
        "0",
    ]
    box.run("systemctl start ocibridge")
    box.until("DobbyStatus", "ready")


@pytest.mark.parametrize("user", ["root", "member", "other"])
def test_activated_by_a_call(box: Box, user: str) -> None:
    box.run("systemctl stop ocibridge")
    assert box.oci("listContainers", user) == "a(is) 0"
    assert box.show("ocibridge", "ActiveState") == ["active"]


def test_what_is_not_enabled_is_not_activated(box: Box) -> None:
    box.run("systemctl disable --now ocibridge; systemctl daemon-reload")
    assert box.tried(f"{CALL} listContainers").returncode == 1
    assert box.show("ocibridge", "ActiveState") == ["inactive"]
    box.run("systemctl enable --now ocibridge")


def test_a_good_reload(box: Box) -> None:
    pid = box.show("ocibridge", "MainPID")
    box.run(
        "mkdir -p /etc/ocibridge/ocibridge.yaml.d; echo 'limits: {per_caller: 7}' "
        ">/etc/ocibridge/ocibridge.yaml.d/10-limits.yaml"
    )
    since = box.cursor()
    box.run("systemctl reload ocibridge")
    assert [e["MESSAGE"] for e in box.journal(since, "SYSLOG_IDENTIFIER=ocibridge")] == [
        "the configuration has been reloaded"
    ]
    assert box.show("ocibridge", "ActiveState", "StatusText", "MainPID") == [
        "active",
        "ready, 0 containers",
        *pid,
    ]


def test_a_bad_reload(box: Box) -> None:
    """The old configuration stays.

    systemctl, the journal and the status line say so, until a valid one is loaded.
    """
    box.run("mkdir -p /etc/ocibridge; echo 'limits: {queued: many}' >/etc/ocibridge/ocibridge.yaml")
    since = box.cursor()
    failed = box.tried("systemctl reload ocibridge")
    assert failed.returncode == 1
    assert "status=78/CONFIG" in box.run("systemctl status ocibridge || true")
    (entry,) = box.journal(since, "SYSLOG_IDENTIFIER=ocibridge")
    assert entry["MESSAGE"].endswith(
        "/etc/ocibridge/ocibridge.yaml: limits.queued: Expected `int`, got `str`"
    )
    assert entry["MESSAGE_ID"] == "49f703754d9b4a05b26990b96103e9a6"
    assert (
        box.status() == "ready, 0 containers; the new configuration is refused, the old one stays"
    )
    assert box.oci("listContainers") == "a(is) 0"
    box.run("rm /etc/ocibridge/ocibridge.yaml; systemctl reload ocibridge")
    assert box.show("ocibridge", "ActiveState", "StatusText") == ["active", "ready, 0 containers"]


def test_a_bad_configuration_at_start(box: Box) -> None:
    """It is permanent, so systemd does not restart the unit."""
    box.run("mkdir -p /etc/ocibridge; echo 'nonsense: 1' >/etc/ocibridge/ocibridge.yaml")
    assert box.tried("systemctl restart ocibridge").returncode == 1
    assert box.show("ocibridge", "ActiveState", "ExecMainStatus", "NRestarts") == [
        "failed",
        "78",
        "0",
    ]
    box.run("rm /etc/ocibridge/ocibridge.yaml; systemctl start ocibridge")


def test_calls_in_flight_end_before_it_does(box: Box, background: Background) -> None:
    start = background(f'{CALL} startContainer ssssas slow /opt/bundles/slow-start "" "" 0')
    wait = background(f"{CALL} waitForState sst other Running 0")
    while "Starting" not in box.tried(f"{CALL} getContainerState s slow").stdout:
        assert start.poll() is None
    box.run("systemctl stop ocibridge")
    assert start.communicate(timeout=BOUND)[0].startswith("i ")
    assert wait.communicate(timeout=BOUND)[1] == "Call failed: ocibridge is stopping\n"
    assert box.show("ocibridge", "Result", "ExecMainStatus") == ["success", "0"]


def test_killed(box: Box) -> None:
    """systemd restarts it. Clients see the true state again, provenance included."""
    descriptor = box.start("plain", "/opt/bundles/no-plugins")
    owner = box.owner()
    box.run("systemctl kill -s KILL ocibridge")
    assert box.owner(owner) != owner
    assert box.show("ocibridge", "NRestarts") == ["1"]
    assert box.oci("listContainers") == f'a(is) 1 {descriptor} "plain"'
    assert "would crash Dobby" in box.refused("getContainerInfo s plain")
    assert box.show("dobby", "NRestarts") == ["0"]


def test_hung(box: Box) -> None:
    """The watchdog replaces a daemon whose event loop hangs."""
    box.run("""
        mkdir -p /run/systemd/system/ocibridge.service.d
        cd /run/systemd/system/ocibridge.service.d
        printf '[Service]\\nWatchdogSec=2s\\n' >watchdog.conf
        systemctl daemon-reload && systemctl restart ocibridge
    """)
    box.until("DobbyStatus", "ready")
    box.start("app")
    owner, since = box.owner(), box.cursor()
    box.run("kill -STOP $(systemctl show ocibridge -p MainPID --value)")
    box.owner(owner)
    assert box.show("ocibridge", "NRestarts") == ["1"]
    assert any(
        "watchdog" in e["MESSAGE"].lower() for e in box.journal(since, "UNIT=ocibridge.service")
    )
    assert box.oci("getContainerState s app") == 'ss "app" "Running"'


def test_the_bus_restarted(box: Box) -> None:
    box.start("app")
    since = box.cursor()
    box.run("systemctl restart dbus")
    box.until("DobbyStatus", "ready")
    assert box.oci("listContainers") == "a(is) 0"
    (entry,) = box.journal(since, "MESSAGE_ID=0ef7ac3f098a447a9f44567492360022")
    assert entry["MESSAGE"] == "the bus has closed the connection"
    assert box.show("ocibridge", "NRestarts") != ["0"]


@pytest.mark.parametrize("how", ["stop", "kill -s KILL"])
def test_dobby_goes_and_comes(box: Box, how: str) -> None:
    box.start("app")
    pid, since = box.show("ocibridge", "MainPID"), box.cursor()
    box.run(f"systemctl {how} dobby")
    box.run("systemctl start dobby")
    box.until("DobbyStatus", "ready")
    assert box.oci("listContainers") == "a(is) 0"
    assert '"Reason" s "dobby-gone"' in box.oci("getLastExit s app")
    assert box.show("ocibridge", "MainPID", "StatusText") == [*pid, "ready, 0 containers"]
    statuses = [
        e["DOBBY_STATUS"]
        for e in box.journal(since, "SYSLOG_IDENTIFIER=ocibridge")
        if "DOBBY_STATUS" in e
    ]
    assert statuses == ["absent", "starting", "ready"]


def test_dobby_stopped_for_good(box: Box) -> None:
    box.run("systemctl stop dobby")
    box.until("DobbyStatus", "absent")
    assert box.status() == "waiting for org.rdk.dobby"
    assert (
        box.refused("listContainers")
        == "Dobby is not on the bus; is it running? (systemctl status dobby)"
    )


@pytest.mark.parametrize("order", ["dobby ocibridge", "ocibridge dobby"])
def test_either_may_be_started_first(box: Box, order: str) -> None:
    box.run("systemctl stop ocibridge dobby; systemctl mask --runtime -q ocibridge dobby")
    for unit in order.split():
        box.run(f"systemctl unmask --runtime -q {unit}; systemctl start {unit}")
    box.until("DobbyStatus", "ready")
    assert box.show("ocibridge", "ActiveState", "NRestarts") == ["active", "0"]


def test_the_name_taken(box: Box) -> None:
    """A second daemon ends, and the first one is not affected."""
    since = box.cursor()
    done = box.tried("systemd-run -q --wait -p User=ocibridge /usr/bin/ocibridge")
    assert done.returncode == 69
    (entry,) = box.journal(since, "MESSAGE_ID=0a0408af48934209bc6d435b40bff6f8")
    assert entry["MESSAGE"] == "the bus name org.rdk.OCIContainer belongs to another process"
    assert box.oci("listContainers") == "a(is) 0"
