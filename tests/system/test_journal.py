# SPDX-License-Identifier: Apache-2.0
"""The journal for an operator: what happened to a container, who did what, and what to do."""

import re

import pytest

from ocibridge.systemd.message_ids import MessageId
from tests.system.conftest import CALL, INSIDE_CALL, Box

CALLER = {"CALLER_UID": "0", "CALLER_COMM": "busctl"}


def test_the_story_of_a_container(box: Box) -> None:
    since = box.cursor()
    descriptor = str(box.start("story"))
    box.oci("pauseContainer s story")
    box.refused("stopContainer sb story false")
    box.oci(f"resumeContainer s {descriptor}")
    box.oci('execCommand sss story "" true')
    box.oci("stopContainer sb story false")
    story = box.journal(since, "CONTAINER_ID=story")
    refusal = (
        f'container "story" (Paused, descriptor {descriptor}) is paused, and Dobby stops a paused '
        "container only with force"
    )
    assert [re.sub(r", \d+\.\d ms", "", entry["MESSAGE"]) for entry in story] == [
        f'container "story" is there (Running), descriptor {descriptor}',
        'startContainer "story" by uid 0 (busctl)',
        'container "story" is Paused, was Running',
        'pauseContainer "story" by uid 0 (busctl)',
        f'stopContainer "story" by uid 0 (busctl): refused: {refusal}',
        'container "story" is Running, was Paused',
        'resumeContainer "story" by uid 0 (busctl)',
        'execCommand "story" by uid 0 (busctl)',
        'container "story" was killed by signal 15, as uid 0 (busctl) requested',
        'stopContainer "story" by uid 0 (busctl)',
    ]
    assert {entry["DESCRIPTOR"] for entry in story} == {descriptor}
    assert {entry["_SYSTEMD_UNIT"] for entry in story} == {"ocibridge.service"}
    assert len({entry["DOBBY_OWNER"] for entry in story}) == 1
    calls = [entry for entry in story if "METHOD" in entry]
    assert len(calls) == 6
    assert all(CALLER.items() <= call.items() for call in calls)
    assert all(
        call["SENDER"].startswith(":1.")
        and int(call["CALLER_PID"]) > 0
        and int(call["DURATION_USEC"]) > 0
        for call in calls
    )
    assert [call.get("ERROR_NAME") for call in calls] == [
        None,
        None,
        "org.rdk.OCIContainer1.Error.WrongState",
        None,
        None,
        None,
    ]
    end = story[-2]
    assert (end["EXIT_REASON"], end["WAIT_STATUS"]) == ("requested", "15")
    assert CALLER.items() <= end.items()
    assert not [entry for entry in story if "CODE_FILE" in entry]


def test_who_asked_is_known_of_any_user(box: Box) -> None:
    """The sandbox lets us read the command names of callers."""
    since = box.cursor()
    box.refused("stopContainer sb nosuch false", "member")
    (entry,) = box.journal(since, "METHOD=stopContainer")
    assert (entry["CALLER_COMM"], entry["CALLER_UID"]) == ("busctl", box.run("id -u member"))
    assert entry["PRIORITY"] == "4"


def test_reads_are_not_logged(box: Box) -> None:
    since = box.cursor()
    box.oci("listContainers")
    box.refused("getContainerState s nosuch")
    box.run("busctl introspect org.rdk.OCIContainer /org/rdk/OCIContainer")
    assert box.journal(since, "SYSLOG_IDENTIFIER=ocibridge") == []


def test_the_log_level(box: Box) -> None:
    """Set with systemd's tools, until the next start."""
    box.run("systemctl service-log-level ocibridge debug")
    assert box.run("systemctl service-log-level ocibridge") == "debug"
    since = box.cursor()
    box.refused("getContainerState s nosuch")
    (entry,) = box.journal(since, "METHOD=getContainerState")
    assert (entry["PRIORITY"], entry["CONTAINER_ID"]) == ("7", "nosuch")
    box.run("systemctl service-log-level ocibridge err")
    box.refused("stopContainer sb nosuch false")
    assert box.journal(since, "METHOD=stopContainer") == []
    assert box.run("systemctl service-log-target ocibridge") == "journal"
    box.run("systemctl restart ocibridge")
    assert box.run("systemctl service-log-level ocibridge") == "info"


def deafen(box: Box) -> None:
    box.run(f"{INSIDE_CALL} deafen")
    box.tried(f"{CALL} listContainers")
    box.until("DobbyStatus", "deaf")


def stall(box: Box) -> None:
    box.run("systemctl kill -s STOP dobby")
    box.tried(f"{CALL} listContainers")
    box.until("DobbyStatus", "stalled")
    box.run("systemctl kill -s CONT dobby")
    box.until("DobbyStatus", "ready")


def crash(box: Box) -> None:
    box.start("crashing", "/opt/bundles/crashing")
    box.oci("waitForState sst crashing Stopped 0")


def restart_dobby(box: Box) -> None:
    box.run("systemctl restart dobby")
    box.until("DobbyStatus", "ready")


def change_callsign(box: Box) -> None:
    box.run(
        "mkdir -p /etc/ocibridge; echo 'callsign: org.example.Other' "
        ">/etc/ocibridge/ocibridge.yaml; systemctl reload ocibridge"
    )


@pytest.mark.parametrize(
    ("happens", "expected", "explained"),
    [
        (restart_dobby, [MessageId.DOBBY_LOST, MessageId.DOBBY_READY], "Dobby has left the bus"),
        (deafen, [MessageId.DOBBY_DEAF], "systemctl restart dobby"),
        (
            stall,
            [MessageId.DOBBY_STALLED, MessageId.DOBBY_READY],
            "nothing but pings for 30 seconds",
        ),
        (crash, [MessageId.CONTAINER_FAILED], "Container crashing has ended badly"),
        (change_callsign, [MessageId.RESTART_NEEDED], "systemctl restart ocibridge"),
    ],
)
def test_what_an_operator_acts_on(
    box: Box, happens: object, expected: list[MessageId], explained: str
) -> None:
    """Each is logged once, with its id, and the catalog has a remedy for it."""
    assert callable(happens)
    since = box.cursor()
    happens(box)
    logged = [
        entry["MESSAGE_ID"]
        for entry in box.journal(since, "SYSLOG_IDENTIFIER=ocibridge")
        if "MESSAGE_ID" in entry
    ]
    assert logged == [message_id.value for message_id in expected]
    output = box.run(f"journalctl -q -x --cursor='{since}' MESSAGE_ID={expected[0]}")
    assert explained in " ".join(output.replace("░", "").split())


def test_all_message_ids_are_in_the_catalog(box: Box) -> None:
    for message_id in MessageId:
        assert "Defined-By: ocibridge" in box.run(f"journalctl --dump-catalog {message_id}")


def test_lines_for_people_on_a_terminal(box: Box) -> None:
    done = box.tried("/usr/bin/ocibridge", "ocibridge")
    assert done.returncode == 69
    assert done.stderr.splitlines() == [
        "ocibridge: info: Dobby is starting and does not take calls yet",
        "ocibridge: info: Dobby is ready",
        "ocibridge: error: the bus name org.rdk.OCIContainer belongs to another process",
    ]


def test_a_frozen_journald_holds_nobody(box: Box) -> None:
    """Its queue holds ten entries.

    Calls go on while it is full, and the number of lost entries is logged.
    """
    since = box.cursor()
    journald = "$(systemctl show systemd-journald -p MainPID --value)"
    try:
        box.run(f"kill -STOP {journald}; {INSIDE_CALL} refused 1500")
    finally:
        box.run(f"kill -CONT {journald}")
    for _ in range(100):  # polling takes a moment, in which more of the backlog is written
        logged = [entry["MESSAGE"] for entry in box.journal(since, "SYSLOG_IDENTIFIER=ocibridge")]
        if any("entries of this log are lost here" in message for message in logged):
            break
    box.refused("pauseContainer s after")
    logged = [entry["MESSAGE"] for entry in box.journal(since, "SYSLOG_IDENTIFIER=ocibridge")]
    (lost,) = [message for message in logged if "entries of this log are lost here" in message]
    assert len(
        [message for message in logged if message.startswith("pauseContainer")]
    ) == 1501 - int(lost.split()[0])
    assert box.show("ocibridge", "NRestarts") == ["0"]


def test_no_journald_at_all(box: Box) -> None:
    if box.bus == "broker":
        pytest.skip(
            "dbus-broker itself is stuck from then on (its reload times out), and this box with it"
        )
    sockets = (
        "systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket"
    )
    try:
        box.run(f"systemctl stop {sockets} systemd-journald")
        box.run("systemctl restart dobby")
        box.until("DobbyStatus", "ready")
        box.start("app")
        assert box.oci("getContainerState s app") == 'ss "app" "Running"'
    finally:
        box.run(f"systemctl start {sockets} systemd-journald")
    since = box.cursor()
    box.oci("stopContainer sb app true")
    assert [e["CALLER_COMM"] for e in box.journal(since, "METHOD=stopContainer")] == ["busctl"]
