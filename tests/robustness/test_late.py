# SPDX-License-Identifier: Apache-2.0
"""Late and duplicate replies, replies of a former owner, two owners in turn, signal storms."""

import pytest
from dbus_fast import Message, MessageType

from tests.robustness.conftest import Attack, Victim, until
from tests.robustness.liar import Answer, Liar
from tests.robustness.test_liar import CLOSED_LIST, use
from tests.robustness.wire import INTERFACE, Wire

QUICK = {"call": "200ms", "start": "200ms", "stop": "200ms", "hibernate": "200ms", "read": "50ms"}
JUNK = [
    '{"cpu": NaN}', '{"cpu": Infinity}', '{"memory": -1e999}', '{"a": nan}', "NaN", "[]", "null",
    '"text"', "", " ", "{", "}", "{}{}",
    "[" * 100_000, '{"a":' * 5000, '{"a": 1,}', "{'a': 1}", '{"a": 01}', '{"a": +1}', '{"a": .5}',
    '{"a": "\\ud800"}', '{"a": "\\x"}',
    '{"state": 7}', '{"state": null}', '{"a": 1, "a": 2}', '{"a": ' + "9" * 5000 + "}",
    '{"a": 1e400}', '{"": ""}',
    '{"a": [1, -1, 1.5, null, [], {}, "x"]}', "\ufeff{}", "{\u2028}",
]  # fmt: skip
REPLIES: dict[str, tuple[str, list[object]]] = {
    "List": ("aias", [[7, 8], ["a", "b"]]),
    "GetState": ("i", [2]),
    "GetInfo": ("s", ["{}"]),
}


def honest(call: Message) -> Message:
    """The replies of a Dobby with two containers."""
    signature, body = REPLIES.get(str(call.member), ("b", [True]))
    return Message.new_method_return(call, signature, body)


@pytest.fixture
def without_dobby(attack: Attack) -> Victim:
    """On a bus without Dobby, with short timeouts."""
    return attack(dobby=False, timeouts=QUICK, sweep_interval="100ms")


def containers(caller: Wire) -> set[tuple[int, str]]:
    answer = caller.reply(caller.call("listContainers"))
    return (
        {tuple(entry) for entry in answer.body[0]}
        if answer.message_type is MessageType.METHOD_RETURN
        else set()
    )


def test_answers_after_their_time(without_dobby: Victim) -> None:
    """The callers already got Timeout.

    A late reply is not taken for that of another call, and changes nothing.
    """
    late: list[Message] = []

    def keep(call: Message) -> Message | None:
        if call.member in REPLIES or call.member == "Ping":
            return honest(call)
        late.append(call)
        return None

    with Liar(without_dobby.address, keep) as liar, without_dobby.caller() as caller:
        until(lambda: containers(caller) == {(7, "a"), (8, "b")})
        for member, signature, body in (
            ("pauseContainer", "s", ("a",)),
            ("execCommand", "sss", ("a", "", "x")),
            ("stopContainer", "sb", ("b", True)),
        ):
            for _ in range(5):
                assert caller.outcome(member, signature, body) == f"{INTERFACE}.Error.Timeout"
        assert {call.member for call in late} == {"Pause", "Exec", "Stop"}
        for call in late:
            liar.send(honest(call))
            liar.send(honest(call))  # a second reply to the same call
            liar.send(Message.new_error(call, "org.freedesktop.DBus.Error.Failed", "too late"))
        assert containers(caller) == {(7, "a"), (8, "b")}
        assert caller.outcome("getContainerState", "s", ("a",)) == "reply"


def test_answers_of_a_former_owner(without_dobby: Victim) -> None:
    """The name has passed to another owner. Replies of the former one no longer count."""
    kept: list[Message] = []

    def keep(call: Message) -> Message | None:
        kept.append(call)
        return honest(call) if len(kept) < 4 else None

    def another(call: Message) -> Message:
        return (
            Message.new_method_return(call, "aias", [[9], ["new"]])
            if call.member == "List"
            else honest(call)
        )

    with Liar(without_dobby.address, keep) as former, without_dobby.caller() as caller:
        until(lambda: (7, "a") in containers(caller))
        for _ in range(20):
            caller.call("listContainers")
            caller.call("getContainerState", "s", ("a",))
        until(lambda: len(kept) > 5)
        former.give_up_the_name()
        with Liar(without_dobby.address, another):
            until(lambda: containers(caller) == {(9, "new")})
            for call in kept:
                former.send(honest(call))
            former.signal("Started", "is", 7, "a")
            former.signal("Stopped", "is", 9, "new")
            for _ in range(20):
                assert containers(caller) == {(9, "new")}


def listing(descriptor: int, container_id: str) -> Answer:
    """The replies of a Dobby with that one container."""

    def answer(call: Message) -> Message:
        if call.member == "List":
            return Message.new_method_return(call, "aias", [[descriptor], [container_id]])
        return honest(call)

    return answer


def test_two_claimants_in_a_queue(without_dobby: Victim) -> None:
    """Whenever the name passes on, the containers are those of the new owner alone."""
    one, two = listing(1, "one"), listing(2, "two")
    with without_dobby.caller() as caller:
        for _ in range(20):
            with Liar(without_dobby.address, one) as first:
                until(lambda: containers(caller) == {(1, "one")})
                with Liar(without_dobby.address, two, becomes=2):
                    assert containers(caller) == {(1, "one")}  # a queued claimant is ignored
                    first.give_up_the_name()
                    until(lambda: containers(caller) == {(2, "two")})
        # Taken over (flags 3: replace an owner that allows it).
        with Liar(without_dobby.address, one, flags=1):
            until(lambda: containers(caller) == {(1, "one")})
            with Liar(without_dobby.address, two, flags=2):
                until(lambda: containers(caller) == {(2, "two")})
            until(lambda: containers(caller) == {(1, "one")})


def storm(liar: Liar, caller: Wire) -> None:
    for number in range(5_000):
        descriptor = 10 + number % 500
        liar.signal("Started", "is", descriptor, f"c{number}")
        liar.signal("StoppedWithStatus", "isi", descriptor, f"c{number}", number)
        liar.signal("Stopped", "is", descriptor, f"c{number}")
        liar.signal("Hibernated", "is", 7, "a")
    until(lambda: containers(caller) == {(7, "a"), (8, "b")})
    last = caller.reply(caller.call("getLastExit", "s", ("c4999",))).body[0]
    assert last["WaitStatus"].value == 4999


def test_storms_of_signals(without_dobby: Victim) -> None:
    """20,000 signals at full speed.

    Then the state is right, and memory does not grow from one storm to the next.
    """
    with Liar(without_dobby.address, honest) as liar, without_dobby.caller() as caller:
        until(lambda: containers(caller) == {(7, "a"), (8, "b")})
        storm(liar, caller)
        before = without_dobby.memory_kib
        for _ in range(3):
            storm(liar, caller)
        assert without_dobby.memory_kib < before + (16 << 10)
        assert without_dobby.memory_kib < 128 << 10


def test_junk_for_an_info(without_dobby: Victim) -> None:
    """Each is passed on as what it is, or refused with a reason.

    JSON-RPC never passes on invalid JSON.
    """
    with Liar(without_dobby.address, honest) as liar, without_dobby.caller() as caller:
        until(lambda: containers(caller) == {(7, "a"), (8, "b")})
        for junk in JUNK:

            def answer(call: Message, text: str = junk) -> Message:
                return (
                    Message.new_method_return(call, "s", [text])
                    if call.member == "GetInfo"
                    else honest(call)
                )

            liar.answer = answer
            assert use(caller) <= CLOSED_LIST - {"org.freedesktop.DBus.Error.Failed"} | {"reply"}, (
                junk[:50]
            )
