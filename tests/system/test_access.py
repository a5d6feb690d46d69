# SPDX-License-Identifier: Apache-2.0
"""Who may do what (docs/design.md, Access).

Each user really makes each call. A refused call reaches neither ocibridge nor Dobby.
"""

import json

import pytest

from tests.system.conftest import INSIDE_CALL, Box

MANAGER = "org.rdk.OCIContainer1"
CONTAINER = "org.rdk.OCIContainer1.Container"
# What every local user may do. All else is for root, the group and the daemon's own user.
EVERYBODY = {
    *(
        f"{MANAGER}.{method}"
        for method in ("listContainers", "getContainerState", "waitForState", "getLastExit")
    ),
    f"{CONTAINER}.waitForState",
    "Introspect",
    "Ping",
    "GetMachineId",
    "GetManagedObjects",
    "GetAll",
    "GetAll LogControl1",
    "Get Version",
    "Get DobbyAvailable",
    "Get DobbyStatus",
    "Get ContainerCount",
}
PRIVILEGED = {
    *(
        f"{MANAGER}.{method}"
        for method in (
            "getContainerInfo",
            "startContainer",
            "startContainerFromDobbySpec",
            "stopContainer",
            "pauseContainer",
            "resumeContainer",
            "execCommand",
            "executeCommand",
            "hibernateContainer",
            "wakeupContainer",
            "annotate",
            "removeAnnotation",
            "mount",
            "unmount",
        )
    ),
    *(
        f"{CONTAINER}.{method}"
        for method in (
            "getInfo",
            "stop",
            "pause",
            "resume",
            "exec",
            "hibernate",
            "wakeup",
            "annotate",
            "removeAnnotation",
            "mount",
            "unmount",
        )
    ),
    "org.rdk.OCIContainer1.JsonRpc.invoke",
    "Set DobbyStatus",
    "Set LogLevel",
    "Set LogTarget",
    "no interface",
    "by the unique name",
}
MAY_ALL = ["root", "ocibridge", "member"]
MAY_TALK_TO_DOBBY = {"root", "ocibridge"}


def tried(box: Box, user: str) -> dict[str, str]:
    """The outcome of each member, called by that user."""
    found: dict[str, str] = json.loads(box.run(f"{INSIDE_CALL} try", user))
    return found


def calls_of_dobby(box: Box) -> dict[str, int]:
    report = box.run(
        "busctl --json=short call org.rdk.dobby /org/rdk/dobby org.freedesktop.DBus.Mock Report"
    )
    calls: dict[str, int] = json.loads(json.loads(report)["data"][0])["calls"]
    return calls


@pytest.mark.parametrize("user", [*MAY_ALL, "other"])
def test_the_matrix(box: Box, user: str) -> None:
    found = tried(box, user)
    found.pop("sender")
    assert found.pop("Dobby") == ("reached" if user in MAY_TALK_TO_DOBBY else "refused")
    assert box.run(f"{INSIDE_CALL} own", user) == ("taken" if user == "ocibridge" else "refused")
    assert set(found) == EVERYBODY | PRIVILEGED  # all members that exist, and no others
    allowed = EVERYBODY | PRIVILEGED if user in MAY_ALL else EVERYBODY
    assert {name for name, outcome in found.items() if outcome == "reached"} == allowed
    assert {name for name, outcome in found.items() if outcome == "refused"} == set(found) - allowed


def test_what_is_refused_reaches_nobody(box: Box) -> None:
    box.run("systemctl service-log-level ocibridge debug")
    dobby, since = calls_of_dobby(box), box.cursor()
    sender = tried(box, "other")["sender"]
    heard = [entry["METHOD"] for entry in box.journal(since, f"SENDER={sender}")]
    assert sorted(heard) == [
        "getContainerState",
        "getLastExit",
        "waitForState",
    ]  # our own refusals, logged at level debug
    after = calls_of_dobby(box)
    assert {
        name: count - dobby.get(name, 0)
        for name, count in after.items()
        if name not in {"List", "GetState"}
    } == {name: 0 for name in after if name not in {"List", "GetState"}}


@pytest.mark.parametrize("user", ["root", "member", "other"])
def test_nobody_else_owns_the_name_while_it_is_free(box: Box, user: str) -> None:
    box.run("systemctl stop ocibridge; systemctl mask --runtime -q ocibridge")
    assert box.run(f"{INSIDE_CALL} own", user) == "refused"


def test_a_refused_call_to_a_stopped_service(box: Box) -> None:
    """dbus-daemon refuses and starts nothing. dbus-broker starts it and then refuses."""
    box.run("systemctl stop ocibridge")
    assert "ccess" in box.refused("stopContainer sb app false", "other")
    if box.bus == "daemon":
        assert box.show("ocibridge", "ActiveState") == ["inactive"]


def test_the_lock_down_of_dobby(box: Box) -> None:
    """Whatever else the box allows: only root and the daemon's user talk to Dobby."""
    site = (
        '<busconfig><policy context="default"><allow '
        'send_destination="org.rdk.dobby"/></policy></busconfig>'
    )
    box.run(f"echo '{site}' >/usr/share/dbus-1/system.d/site.conf; systemctl reload dbus")
    try:
        assert {user: tried(box, user)["Dobby"] for user in ("member", "other")} == {
            "member": "reached",
            "other": "reached",
        }
        box.run(
            "cp /usr/share/ocibridge/org.rdk.dobby-lockdown.conf /etc/dbus-1/system.d/; systemctl "
            "reload dbus"
        )
        found = {user: tried(box, user)["Dobby"] for user in [*MAY_ALL, "other"]}
        assert found == {
            user: "reached" if user in MAY_TALK_TO_DOBBY else "refused" for user in found
        }
        box.run("systemctl restart dobby")
        box.until("DobbyStatus", "ready")
        box.start("app")
    finally:
        box.run(
            "rm -f /usr/share/dbus-1/system.d/site.conf "
            "/etc/dbus-1/system.d/org.rdk.dobby-lockdown.conf; systemctl reload dbus"
        )


def test_the_lock_down_against_floods(box: Box) -> None:
    """Calls that cost more to answer than to send are for root and the group.

    All else is unchanged.
    """
    taken = {"Introspect", "GetManagedObjects", "GetAll", "GetAll LogControl1"}
    try:
        box.run(
            "cp /usr/share/ocibridge/org.rdk.OCIContainer-lockdown.conf /etc/dbus-1/system.d/; "
            "systemctl reload dbus"
        )
        for user, allowed in (
            ("root", EVERYBODY | PRIVILEGED),
            ("member", EVERYBODY | PRIVILEGED),
            ("other", EVERYBODY - taken),
        ):
            assert {name for name, outcome in tried(box, user).items() if outcome == "reached"} - {
                "Dobby"
            } == allowed
    finally:
        box.run(
            "rm -f /etc/dbus-1/system.d/org.rdk.OCIContainer-lockdown.conf; systemctl reload dbus"
        )


def test_a_bus_that_does_not_let_us_talk_to_dobby(box: Box) -> None:
    """It is logged with a remedy, and ocibridge recovers once the bus allows it."""
    forbidden = (
        '<busconfig><policy user="ocibridge"><deny '
        'send_destination="org.rdk.dobby"/></policy></busconfig>'
    )
    box.run(f"echo '{forbidden}' >/etc/dbus-1/system.d/zz.conf; systemctl reload dbus")
    since = box.cursor()
    try:
        box.run("systemctl restart dobby")
        box.until("DobbyStatus", "starting")
        while not (logged := box.journal(since, "MESSAGE_ID=ab1cec241004429ba326d693dece54f3")):
            pass
        assert "AccessDenied" in logged[0]["MESSAGE"]
    finally:
        box.run("rm /etc/dbus-1/system.d/zz.conf; systemctl reload dbus")
    box.until("DobbyStatus", "ready")
