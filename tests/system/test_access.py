# SPDX-License-Identifier: Apache-2.0
"""Who may do what (docs/design.md, Access): two walls, on each kind of bus.

Each user really makes each call, with arguments that would change something.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.system.conftest import CALL, Box
from tests.system.rights import (
    ALLOW_ALL,
    BARE,
    MANAGER,
    RULES,
    STOCK,
    bus_like,
    configure,
    reach,
    snapshot,
    tried,
    two_containers,
)

Background = Callable[..., Any]
CONTAINER = "org.rdk.OCIContainer1.Container"
# What every local user may do, and what comes of it.
READS = {
    f"{MANAGER}.listContainers": "done",
    f"{MANAGER}.getContainerState": "done",
    f"{MANAGER}.waitForState": "done",
    f"{MANAGER}.getLastExit": "NoSuchContainer",
    f"{CONTAINER}.waitForState": "done",
    "Introspect": "done",
    "Ping": "done",
    "GetMachineId": "done",
    "GetManagedObjects": "done",
    "GetAll": "done",
    "GetAll LogControl1": "done",
    "Get Version": "done",
    "Get DobbyAvailable": "done",
    "Get DobbyStatus": "done",
    "Get ContainerCount": "done",
}
# What a rule with "control" allows, and what comes of it. This Dobby cannot hibernate.
CONTROL = {
    f"{MANAGER}.getContainerInfo": "done",
    f"{MANAGER}.stopContainer": "done",
    f"{MANAGER}.pauseContainer": "done",
    f"{MANAGER}.resumeContainer": "done",
    f"{MANAGER}.hibernateContainer": "DobbyRefused",
    f"{MANAGER}.wakeupContainer": "WrongState",
    f"{MANAGER}.annotate": "done",
    f"{MANAGER}.removeAnnotation": "done",
    f"{CONTAINER}.getInfo": "done",
    f"{CONTAINER}.stop": "done",
    f"{CONTAINER}.pause": "done",
    f"{CONTAINER}.resume": "done",
    f"{CONTAINER}.hibernate": "DobbyRefused",
    f"{CONTAINER}.wakeup": "WrongState",
    f"{CONTAINER}.annotate": "done",
    f"{CONTAINER}.removeAnnotation": "done",
    "org.rdk.OCIContainer1.JsonRpc.invoke": "done",  # it annotates
    "by the unique name": "done",  # likewise
}
# What makes whoever may do it as good as root.
ROOTLIKE = {
    f"{MANAGER}.startContainer": "done",
    f"{MANAGER}.startContainerFromDobbySpec": "done",
    f"{MANAGER}.execCommand": "done",
    f"{MANAGER}.executeCommand": "done",
    f"{MANAGER}.mount": "done",
    f"{MANAGER}.unmount": "done",
    f"{CONTAINER}.exec": "done",
    f"{CONTAINER}.mount": "done",
    f"{CONTAINER}.unmount": "done",
}
# No rule allows or forbids these.
LOG = {"Set LogLevel": "done", "Set LogTarget": "done"}
SENSELESS = {
    "Set DobbyStatus": "PropertyReadOnly",
    "another interface": "UnknownMethod",
    "no interface": "UnknownObject",
}
MAY_ALL = ("root", "ocibridge", "member")
# Those whom the bus's policy lets through. "launcher" has a rule for containers com.example.*.
CALLERS = ("launcher", "caller")
USERS = (*MAY_ALL, *CALLERS, "other")
LAUNCHERS = ("launcher", "com.example.app")
THEIRS = "org.example.app"
MAY_TALK_TO_DOBBY = {"root", "ocibridge"}


def expected(user: str, bus: str, container_id: str) -> dict[str, str]:
    """Who stops which call, and what comes of the others."""
    if user not in (*MAY_ALL, *CALLERS) and bus != BARE:
        return READS | dict.fromkeys([*CONTROL, *ROOTLIKE, *LOG, *SENSELESS], "bus")
    refused = dict.fromkeys([*CONTROL, *ROOTLIKE, *LOG], "ocibridge")
    allowed = READS | SENSELESS
    if user in MAY_ALL:
        allowed |= CONTROL | ROOTLIKE
    elif (user, container_id) == LAUNCHERS:
        allowed |= CONTROL
    if user in {"root", "ocibridge"}:
        allowed |= LOG
    return refused | allowed


@pytest.fixture(params=[STOCK, ALLOW_ALL, BARE])
def bus(request: pytest.FixtureRequest, box: Box) -> Iterator[str]:
    """The kind of bus."""
    with bus_like(box, request.param):
        yield request.param


def test_the_matrix(box: Box, bus: str) -> None:
    """A user without right changes nothing, and Dobby hears nothing of it."""
    configure(box, RULES)
    for user, container_id in [*((user, f"org.example.{user}") for user in USERS), LAUNCHERS]:
        before = snapshot(box, *two_containers(container_id))
        found = tried(box, user, container_id)
        # All members that exist, and no others.
        assert (user, found) == (user, expected(user, bus, container_id))
        if "done" not in (found[name] for name in (*CONTROL, *ROOTLIKE)):
            assert (user, snapshot(box)) == (user, before)


def test_the_names(box: Box, bus: str) -> None:
    """Nobody takes a name from its owner, nor a free one that a policy protects.

    On a bus that allows everything, anybody may own a name that has no policy, and call its owner.
    That is outside our reach: such a bus needs our policy, and the lock-down of Dobby.
    """
    allows = {"ocibridge": bus == BARE, "Dobby": bus != STOCK}
    owners = {"ocibridge": "ocibridge", "Dobby": "root"}
    for state in ("taken", "owned"):
        for user in USERS:
            found = reach(box, user)
            for name, owner in owners.items():
                outcome = state if user == owner or allows[name] else "bus"
                assert (user, name, found[f"own {name}"]) == (user, name, outcome)
            if state == "taken":
                may_call = user in MAY_TALK_TO_DOBBY or allows["Dobby"]
                assert (user, found["call Dobby"]) == (user, "done" if may_call else "bus")
        box.run("systemctl stop ocibridge dobby; systemctl mask --runtime -q ocibridge dobby")


def begin_without_name(box: Box) -> str:
    """Let ocibridge start and wait for Dobby. Returns its unique name."""
    box.run("systemctl stop ocibridge; systemctl kill -s STOP dobby")
    return box.run(f"""
        systemctl start --no-block ocibridge
        until name=$(busctl list --unique | grep ocibridge.service) &&
              busctl get-property "${{name%% *}}" /org/rdk/OCIContainer {MANAGER} Version
        do :; done >/dev/null 2>&1
        echo "${{name%% *}}"
    """)


def stop_without_name(box: Box, background: Background) -> str:
    """Let ocibridge stop and wait for a call in flight. Returns its unique name."""
    name = box.owner()
    box.run("systemctl kill -s STOP dobby")
    start = background(f'{CALL} startContainer ssssas last /opt/bundles/sleep "" "" 0')
    while "Starting" not in box.tried(f"{CALL} getContainerState s last").stdout:
        assert start.poll() is None
    box.run("""
        systemctl stop --no-block ocibridge
        while busctl call org.freedesktop.DBus / org.freedesktop.DBus GetNameOwner s \\
                  org.rdk.OCIContainer
        do :; done >/dev/null 2>&1
    """)
    return name


@pytest.mark.parametrize("phase", ["activating", "deactivating"])
def test_while_ocibridge_has_no_name(box: Box, background: Background, phase: str) -> None:
    """The bus's policy does not know ocibridge by its unique name.

    On a bus that allows everything, everybody can call it then. So ocibridge alone has to refuse.
    """
    configure(box, RULES)
    before, _ = snapshot(box, *two_containers(THEIRS))
    mutating = CONTROL | ROOTLIKE | LOG
    with bus_like(box, ALLOW_ALL):
        if phase == "activating":
            refused = dict.fromkeys(mutating, "ocibridge")
            name = begin_without_name(box)
            # The objects of the containers are not there yet.
            refused |= {name: "UnknownObject" for name in mutating if name.startswith(CONTAINER)}
        else:
            # Nobody's new calls are done any more.
            refused = dict.fromkeys(mutating, "Timeout") | dict.fromkeys(LOG, "ocibridge")
            name = stop_without_name(box, background)
            before["StartFromBundle"] += 1
        found = tried(box, "other", THEIRS, name)
        assert box.show("ocibridge", "ActiveState") == [phase]
        box.run("systemctl kill -s CONT dobby; systemctl start ocibridge")
        box.until("DobbyStatus", "ready")
    assert {name: found[name] for name in mutating} == refused
    assert snapshot(box)[0] == before


def test_a_refused_call_to_a_stopped_service(box: Box) -> None:
    """dbus-daemon refuses and starts nothing. dbus-broker starts it and then refuses."""
    box.run("systemctl stop ocibridge")
    assert "ccess" in box.refused("stopContainer sb app false", "other")
    if box.bus == "daemon":
        assert box.show("ocibridge", "ActiveState") == ["inactive"]


@pytest.mark.parametrize("kind", [STOCK, ALLOW_ALL])
def test_the_lock_down_of_dobby(box: Box, kind: str) -> None:
    """Whatever else the box allows: only root and the daemon's user talk to Dobby."""
    site = (
        '<busconfig><policy context="default"><allow own="org.rdk.dobby"/><allow '
        'send_destination="org.rdk.dobby"/></policy></busconfig>'
    )
    with bus_like(box, kind):
        try:
            if kind == STOCK:
                box.run(f"echo '{site}' >/usr/share/dbus-1/system.d/site.conf")
            box.run("systemctl reload dbus")
            for user in ("member", "launcher", "other"):
                assert reach(box, user)["call Dobby"] == "done"
            box.run(
                "cp /usr/share/ocibridge/org.rdk.dobby-lockdown.conf /etc/dbus-1/system.d/; "
                "systemctl reload dbus"
            )
            for user in USERS:
                found = reach(box, user)
                may_call, may_own = user in MAY_TALK_TO_DOBBY, user == "root"
                assert (user, found["call Dobby"]) == (user, "done" if may_call else "bus")
                assert (user, found["own Dobby"]) == (user, "taken" if may_own else "bus")
            box.run("systemctl restart dobby")
            box.until("DobbyStatus", "ready")
            box.start("app")
        finally:
            box.run(
                "rm -f /usr/share/dbus-1/system.d/site.conf "
                "/etc/dbus-1/system.d/org.rdk.dobby-lockdown.conf; systemctl reload dbus"
            )


@pytest.mark.parametrize("kind", [STOCK, ALLOW_ALL])
def test_the_lock_down_against_floods(box: Box, kind: str) -> None:
    """Calls that cost more to answer than to send are for root and the two groups.

    All else is unchanged.
    """
    taken = ("Introspect", "GetManagedObjects", "GetAll", "GetAll LogControl1")
    lockdown = "org.rdk.OCIContainer-lockdown.conf"
    configure(box, RULES)
    box.run(" && ".join(two_containers(THEIRS)))
    with bus_like(box, kind):
        try:
            box.run(
                f"cp /usr/share/ocibridge/{lockdown} /etc/dbus-1/system.d; systemctl reload dbus"
            )
            for user in ("other", "caller", "member"):
                denied = dict.fromkeys(taken, "bus") if user == "other" else {}
                found = tried(box, user, THEIRS)
                assert (user, found) == (user, expected(user, kind, THEIRS) | denied)
        finally:
            box.run(f"rm -f /etc/dbus-1/system.d/{lockdown}; systemctl reload dbus")


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
