# SPDX-License-Identifier: Apache-2.0
"""A caller that sends what no client library allows.

Each call gets one clear error, and other callers are not affected.
"""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message, MessageFlag, MessageType, Variant

from tests.robustness.conftest import Attack, Victim
from tests.robustness.wire import DRIVER, INTERFACE, OURS, PATH, TO_THE_BUS, Wire

STANDARD = "org.freedesktop.DBus.Error."
PROPERTIES = "org.freedesktop.DBus.Properties"
METHODS = {
    "listContainers": "", "getContainerState": "s", "getContainerInfo": "s",
    "startContainer": "ssssas",
    "startContainerFromDobbySpec": "sss", "stopContainer": "sb", "pauseContainer": "s",
    "resumeContainer": "s", "execCommand": "sss",
    "executeCommand": "sss", "hibernateContainer": "ss", "wakeupContainer": "s", "annotate": "sss",
    "removeAnnotation": "ss",
    "mount": "sssass", "unmount": "ss", "waitForState": "sst", "getLastExit": "s",
}  # fmt: skip
DEEP = 62  # nested variants; the bus allows 64 nested containers


def deep(levels: int) -> Variant:
    value = Variant("s", "x")
    for _ in range(levels):
        value = Variant("v", value)
    return value


WRONG: list[tuple[str, tuple[Any, ...]]] = [
    ("", ()), ("i", (1,)), ("s", ("x",)), ("ss", ("x", "y")), ("as", (["x"],)), ("v", (deep(1),)),
    ("v", (deep(DEEP),)),
    ("sssssssss", ("x",) * 9), ("a{sv}", ({"a": Variant("s", "x")},)), ("(ss)", (("a", "b"),)),
    ("ay", (b"x",)),
    ("x", (-1,)), ("d", (float("nan"),)), ("o", ("/",)), ("g", ("s",)), ("sv", ("x", deep(0))),
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_wrong_signatures(victim: Victim, method: str) -> None:
    """Missing, extra and mistyped arguments reach neither the operation nor Dobby."""
    with victim.caller() as caller:
        for signature, body in WRONG:
            if signature != METHODS[method]:
                assert caller.outcome(method, signature, body) == f"{STANDARD}InvalidArgs", (
                    signature
                )


def test_what_is_not_there(victim: Victim) -> None:
    with victim.caller() as caller:
        assert caller.outcome("nope") == f"{STANDARD}UnknownMethod"
        assert (
            caller.outcome("listContainers", interface="org.rdk.OCIContainer2")
            == f"{STANDARD}UnknownMethod"
        )
        # sd-bus looks up a member by its interface alone.
        assert caller.outcome("listContainers", interface=None) == f"{STANDARD}UnknownObject"
        for path in (
            "/",
            "/org",
            "/org/rdk",
            f"{PATH}/container",
            f"{PATH}/container/nope",
            f"{PATH}/container/_2e_2e",
        ):
            assert caller.outcome("listContainers", path=path) in {
                f"{STANDARD}UnknownObject",
                f"{STANDARD}UnknownMethod",
            }


def test_properties_cannot_be_written(victim: Victim) -> None:
    with victim.caller() as caller:
        for name, value in (
            ("Version", Variant("s", "9")),
            ("DobbyAvailable", Variant("b", False)),
            ("ContainerCount", deep(DEEP - 2)),
        ):
            outcome = caller.outcome("Set", "ssv", (INTERFACE, name, value), interface=PROPERTIES)
            assert outcome == f"{STANDARD}PropertyReadOnly"
        assert (
            caller.outcome(
                "Set", "ssv", (INTERFACE, "Nope", Variant("s", "9")), interface=PROPERTIES
            )
            == f"{STANDARD}UnknownProperty"
        )
        assert (
            caller.outcome("Get", "ss", (INTERFACE, "Nope"), interface=PROPERTIES)
            == f"{STANDARD}UnknownProperty"
        )


@pytest.mark.parametrize("mebibytes", [2, 16, 30])
def test_strings_of_many_mebibytes(victim: Victim, mebibytes: int) -> None:
    """They are refused, and their memory is released."""
    text = "x" * (mebibytes << 20)
    with victim.caller() as caller:
        answer = caller.reply(caller.call("getContainerState", "s", (text,)))
        assert answer.error_name == f"{STANDARD}InvalidArgs"
        assert "containerId: larger than 1 MiB" in answer.body[0]
        before = victim.memory_kib
        for _ in range(5):
            assert caller.outcome("annotate", "sss", ("a", "b", text)) == f"{STANDARD}InvalidArgs"
    assert victim.memory_kib < before + (3 * mebibytes << 10)


@pytest.mark.parametrize(
    ("last", "growth"), [("x", 75), ("\U0001f600", 195)], ids=["ASCII", "beyond U+FFFF"]
)
def test_the_peak_of_a_large_string(victim: Victim, last: str, growth: int) -> None:
    """The message, its Python string (up to 4 bytes per character), and no further copy."""
    with victim.caller() as caller:
        before = victim.memory_kib
        assert (
            caller.outcome("getContainerState", "s", ("x" * ((30 << 20) - 200) + last,))
            == f"{STANDARD}InvalidArgs"
        )
        assert caller.is_served()
        assert victim.peak_kib < before + (growth << 10)
        assert victim.memory_kib < before + (8 << 10)


def test_a_string_larger_than_the_bus_lets_through(victim: Victim) -> None:
    """A system bus takes messages of at most 32 MiB, and disconnects a sender of more."""
    with victim.caller() as caller, pytest.raises((OSError, EOFError)):
        caller.outcome("getContainerState", "s", ("x" * (64 << 20),))


def test_calls_that_want_no_reply_get_none(victim: Victim) -> None:
    with victim.caller() as caller:
        mute = MessageFlag.NO_REPLY_EXPECTED
        silent = [
            caller.call(method, "s", ("nope",), flags=mute)
            for method in ("getContainerState", "getLastExit")
        ]
        assert caller.is_served()
        assert not set(silent) & set(caller._replies)


def test_descriptors_where_none_belong(victim: Victim) -> None:
    """The bus delivers them with any message. They are closed with the message."""
    before = victim.files
    with victim.caller() as caller, Path(os.devnull).open("rb") as file:
        for _ in range(200):
            message = Message(
                destination=OURS,
                path=PATH,
                interface=INTERFACE,
                member="getContainerState",
                signature="h",
                body=[0],
            )
            assert (
                caller.reply(caller.send(message, (file.fileno(),))).error_name
                == f"{STANDARD}InvalidArgs"
            )
        for _ in range(100):  # the last message is freed a moment after its reply
            assert caller.is_served()
            if victim.files <= before:
                break
        assert victim.files <= before


def test_a_flood_that_reads_no_replies(victim: Victim) -> None:
    """100,000 calls of a caller who reads no replies.

    Other callers are served meanwhile, and memory is bounded.
    """
    before = victim.memory_kib
    with victim.caller() as flood, victim.caller() as honest:
        flood.socket.settimeout(0.5)
        sent = 0
        try:
            for sent in range(1, 100_001):
                flood.call("getContainerState", "s", ("nope",))
                if sent % 5_000 == 0:
                    assert honest.is_served()
        except (TimeoutError, OSError):
            pass  # the bus takes no more from it, or has disconnected it, as it may
        assert sent > 1_000
        assert honest.is_served()
    assert victim.memory_kib < before + (64 << 10)


def test_callers_that_vanish(victim: Victim) -> None:
    """In mid-call, in a wait, or with a start in flight: none of their state is left."""
    with victim.caller() as honest:
        assert honest.is_served()
    before = victim.files
    for _ in range(100):
        with victim.caller() as caller:
            caller.call("waitForState", "sst", ("nope", "Running", 0))
            caller.call("getContainerState", "s", ("nope",))
            caller.call("listContainers")
    assert victim.files <= before + 1
    with victim.caller() as caller:  # waits of callers who left do not count
        assert [caller.outcome("getContainerState", "s", ("nope",)) for _ in range(70)] == [
            f"{INTERFACE}.Error.NoSuchContainer"
        ] * 70


def forged(caller: Wire, member: str, signature: str, body: list[Any], **other: Any) -> None:
    where = {"path": "/org/rdk/dobby", "interface": "org.rdk.dobby.ctrl1"} | other
    caller.send(
        Message(
            message_type=MessageType.SIGNAL, member=member, signature=signature, body=body, **where
        )
    )


def test_forged_signals_change_nothing(victim: Victim) -> None:
    """Broadcast and unicast. Only signals from Dobby's unique name count."""
    with victim.caller() as caller:
        owner = caller.ask_bus("GetNameOwner", "s", OURS)
        assert caller.outcome("AddMatch", "s", ("type='signal'",), **TO_THE_BUS) == "reply"
        to: dict[str, Any]
        for to in ({}, {"destination": owner}, {"destination": OURS}):
            forged(caller, "Started", "is", [7, "ghost"], **to)
            forged(caller, "Stopped", "is", [7, "ghost"], **to)
            forged(caller, "Started", "s", ["short"], **to)
            forged(caller, "StoppedWithStatus", "isi", [7, "ghost", 9], **to)
            forged(caller, "Ready", "", [], interface="org.rdk.dobby.admin1", **to)
            bus = {"interface": DRIVER, "path": "/org/freedesktop/DBus"} | to
            forged(caller, "NameOwnerChanged", "sss", ["org.rdk.dobby", ":1.1", ""], **bus)
            forged(caller, "NameOwnerChanged", "sss", ["org.rdk.dobby", "", caller.name], **bus)
            forged(caller, "Disconnected", "", [], interface="org.example.Local", **to)
        for number in range(1, 200):  # replies to calls that ocibridge may have sent to Dobby
            answer = Message(
                message_type=MessageType.METHOD_RETURN,
                destination=owner,
                reply_serial=number,
                signature="i",
                body=[4],
            )
            caller.send(answer)
        assert caller.reply(caller.call("listContainers")).body == [[]]
        status = (
            caller.reply(caller.call("Get", "ss", (INTERFACE, "DobbyStatus"), interface=PROPERTIES))
            .body[0]
            .value
        )
        assert status == "ready"
        assert [m.member for m in caller.others if m.path and m.path.startswith(PATH)] == []
        assert (
            caller.outcome("getLastExit", "s", ("ghost",)) == f"{INTERFACE}.Error.NoSuchContainer"
        )


def test_a_thousand_match_rules(victim: Victim) -> None:
    """A caller with 1000 match rules costs us nothing, and misses none of our signals."""
    with victim.caller() as caller:
        refused = 0
        for number in range(1000):
            rule = f"type='signal',sender='{OURS}',arg0='x{number}'"
            refused += caller.outcome("AddMatch", "s", (rule,), **TO_THE_BUS) != "reply"
        assert caller.is_served()
        assert refused < 1000


def test_many_who_wait_are_one_match_rule(attack: Attack) -> None:
    """The bus allows a connection 512 match rules (dbus-daemon(1)).

    Many connections that wait must not use up ours.
    """
    victim = attack(limits={"per_user": 5000})
    with ExitStack() as stack:
        honest = stack.enter_context(victim.caller())
        # identifies its user: callers not yet identified share 256 places
        assert honest.is_served()
        for _ in range(20):
            wire = stack.enter_context(victim.caller())
            assert wire.is_served()
            for _ in range(30):
                wire.call("waitForState", "sst", ("never", "Running", 0))
        assert (
            honest.outcome("waitForState", "sst", ("other", "Running", 600_000))
            == f"{INTERFACE}.Error.Timeout"
        )


def test_connections_that_wait_are_bounded_together(victim: Victim) -> None:
    """200 connections, each with as many waits as it may have.

    Together they exhaust neither our memory nor the turn of others.
    """
    before = victim.memory_kib
    with ExitStack() as stack:
        for _ in range(200):
            wire = stack.enter_context(victim.caller())
            for _ in range(64):
                wire.call("waitForState", "sst", ("never", "Running", 0))
        honest = stack.enter_context(victim.caller())
        assert honest.is_served()
    assert victim.memory_kib < before + (48 << 10)
