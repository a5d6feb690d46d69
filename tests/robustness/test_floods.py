# SPDX-License-Identifier: Apache-2.0
"""Callers who call without end, want no replies, or disconnect before they are identified."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message, MessageFlag

from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.processes import ocibridge, private_bus, until_owned
from tests.robustness.conftest import Attack, Victim
from tests.robustness.liar import Liar, refusing
from tests.robustness.wire import DRIVER, INTERFACE, OURS, PATH, Wire

STANDARD = "org.freedesktop.DBus.Error."
OPEN_TO_ALL = [
    ("getContainerState", "s", ("nope",)),
    ("listContainers", "", ()),
    ("getLastExit", "s", ("nope",)),
    ("waitForState", "sst", ("nope", "Running", 0)),
    ("waitForState", "sst", ("nope", "Bad", 0)),
]


@contextmanager
def flood(victim: Victim, member: str, signature: str, body: tuple[Any, ...]) -> Iterator[None]:
    """30,000 calls at once that want no replies, so that the bus does not count them."""
    call = Message(
        destination=OURS,
        path=PATH,
        interface=INTERFACE,
        member=member,
        signature=signature,
        body=list(body),
    )
    call.flags = MessageFlag.NO_REPLY_EXPECTED
    call.serial = 7
    raw = bytes(call._marshall(False)) * 50

    def send() -> None:
        with victim.caller() as caller:
            for _ in range(600):
                caller.socket.sendall(raw)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        sender.join()


@pytest.mark.parametrize("call", OPEN_TO_ALL, ids=lambda call: f"{call[0]}{call[2]}")
def test_a_flood_that_wants_no_replies(
    victim: Victim, call: tuple[str, str, tuple[Any, ...]]
) -> None:
    """Other callers are served meanwhile, each within its time limit, and memory does not grow."""
    with victim.caller() as honest:
        assert honest.is_served()
        before = victim.memory_kib
        with flood(victim, *call):
            for _ in range(10):
                assert honest.is_served()
        assert honest.is_served()
        assert victim.memory_kib < before + (16 << 10)


def test_who_is_gone_before_it_is_known_changes_nothing(victim: Victim, tmp_path: Path) -> None:
    """Each start that happens is logged with its caller.

    A caller who has disconnected before it was identified has started nothing.
    """
    bundle = str(make_bundle(tmp_path, "sleep"))
    for number in range(30):
        with victim.caller() as caller:
            caller.call(
                "startContainer",
                "ssssas",
                (f"a{number}", bundle, "", "", []),
                flags=MessageFlag.NO_REPLY_EXPECTED,
            )
    with victim.caller() as honest:
        while honest.outcome("startContainer", "ssssas", ("last", bundle, "", "", [])) != "reply":
            pass
        honest.outcome("stopContainer", "sb", ("no-such", True))
        there = {
            container_id for _, container_id in honest.reply(honest.call("listContainers")).body[0]
        }
    lines = [line for line in victim.log.read_text().splitlines() if "startContainer" in line]
    known = {
        line.split('"')[1]
        for line in lines
        if f" by uid {os.getuid()} " in line and "refused" not in line
    }
    assert there <= known
    assert all("refused: startContainer: not done" in line for line in lines if "uid -1" in line)


def test_a_state_to_be_confirmed_does_not_fill_the_queue(attack: Attack) -> None:
    """Invalid needs to be confirmed by a List.

    One List confirms it for all who share the GetState, instead of one for each.
    """
    victim = attack(
        dobby=False, limits={"in_flight": 4, "queued": 20}, timeouts={"read": "5s", "call": "1s"}
    )
    all_have_asked = threading.Event()

    def answer(call: Message) -> Message | None:
        if call.member == "List":
            return (
                None
                if all_have_asked.is_set()
                else Message.new_method_return(call, "aias", [[7], ["a"]])
            )
        if (
            call.member == "GetState" and liar.calls.count("GetState") > 1
        ):  # the first is for the snapshot
            all_have_asked.wait(20)
        return Message.new_method_return(call, "i", [0])

    with ExitStack() as stack:
        liar = Liar(victim.address, answer)
        stack.enter_context(liar)
        honest = stack.enter_context(victim.caller())
        while honest.outcome("listContainers") != "reply":
            pass
        for caller in [stack.enter_context(victim.caller()) for _ in range(10)]:
            for _ in range(30):
                caller.call("getContainerState", "s", ("a",))
            assert (
                caller.outcome("Ping", interface="org.freedesktop.DBus.Peer") == "reply"
            )  # by now they have arrived
        all_have_asked.set()
        while liar.calls[-1] != "List":
            pass
        assert honest.outcome("pauseContainer", "s", ("a",)) != f"{STANDARD}LimitsExceeded"


def test_dobbys_error_text_is_quoted_and_cut(attack: Attack) -> None:
    """The text comes from another process.

    It reaches a terminal without control characters and with a limited length.
    """
    victim = attack(dobby=False)
    text = "\x1b[2J\nocibridge: info: all is well" + "x" * (1 << 20)
    with Liar(victim.address, refusing(f"{STANDARD}NoReply", text)), victim.caller() as caller:
        for _ in range(5):
            reply = caller.reply(caller.call("listContainers"))
            assert reply.error_name == f"{INTERFACE}.Error.DobbyUnavailable"
            assert len(reply.body[0]) < 1000
            assert reply.body[0].isprintable()
    assert not [
        line
        for line in victim.log.read_text().splitlines()
        if not line.isprintable() or len(line) > 1000
    ]


def test_a_bus_that_is_frozen_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    with (
        private_bus() as address,
        ocibridge(address, environment={"RUNTIME_DIRECTORY": str(tmp_path)}) as bridge,
    ):
        until_owned(address)
        with Wire(address) as caller:
            bus = caller.ask_bus("GetConnectionUnixProcessID", "s", DRIVER)
            os.kill(bus, signal.SIGSTOP)
            try:
                bridge.child.terminate()
                assert bridge.child.wait(15) == 0
            finally:
                os.kill(bus, signal.SIGCONT)
