# SPDX-License-Identifier: Apache-2.0
"""Dobby's replies are wrong.

What cannot be right is not accepted, and callers get one of the documented errors.
"""

import pytest
from dbus_fast import Message, MessageType, Variant

from ocibridge import errors
from tests.robustness.conftest import Attack, Victim, until
from tests.robustness.liar import Answer, Liar, refusing, returning
from tests.robustness.wire import INTERFACE, TO_THE_BUS, Wire

CLOSED_LIST = {
    error.dbus_name
    for error in vars(errors).values()
    if isinstance(error, type) and hasattr(error, "dbus_name")
}
STANDARD = "org.freedesktop.DBus.Error."
MANY = 50
LIES: dict[str, Answer] = {
    "nothing": returning(""),
    "a string": returning("s", "7"),
    "a boolean": returning("b", True),
    "an int64": returning("x", 2),
    "a double": returning("d", float("nan")),
    "a variant": returning("v", Variant("i", 2)),
    "a struct": returning("(is)", (1, "a")),
    "lists of different length": returning("aias", [1, 2], ["a"]),
    "lists the other way round": returning("asai", ["a"], [1]),
    "one id twice": returning("aias", [1, 2], ["a", "a"]),
    "one descriptor twice": returning("aias", [1, 1], ["a", "b"]),
    "descriptors that are none": returning(
        "aias", [-1, 0, -(1 << 31), (1 << 31) - 1], ["a", "b", "c", "d"]
    ),
    "ids that are none": returning("aias", [1, 2, 3], ["", "../..", "\x1b[2J\n" + "x" * 5000]),
    "ten thousand containers": returning(
        "aias", list(range(1, 10_001)), [f"c{n}" for n in range(1, 10_001)]
    ),
    "a state that is none": returning("i", 4711),
    "an error without a reason": refusing(f"{STANDARD}Failed", ""),
    "an unknown error": refusing("com.example.Oops", "\x1b[31m\n%s"),
    "a Python error": refusing("org.python.Error.SystemExit", "1"),
    "that he is not there": refusing(f"{STANDARD}ServiceUnknown", "gone"),
    "that he is deaf": refusing(
        f"{STANDARD}UnknownMethod", "Unknown method List or interface org.rdk.dobby.ctrl1."
    ),
    "that he lacks it": refusing(f"{STANDARD}UnknownMethod", "No handler for method"),
    "access denied": refusing(f"{STANDARD}AccessDenied", "no"),
    "limits exceeded": refusing(f"{STANDARD}LimitsExceeded", "no"),
}
CALLS = (
    ("listContainers", "", ()), ("getContainerState", "s", ("a",)),
    ("getContainerInfo", "s", ("a",)), ("pauseContainer", "s", ("a",)),
    ("stopContainer", "sb", ("a", True)), ("startContainerFromDobbySpec", "sss", ("a", "{}", "")),
    ("execCommand", "sss", ("a", "", "x")),
    ("annotate", "sss", ("a", "k", "v")), ("unmount", "ss", ("a", "/x")),
    ("getLastExit", "s", ("a",)),
)  # fmt: skip


@pytest.fixture
def without_dobby(attack: Attack) -> Victim:
    """On a bus without Dobby."""
    return attack(dobby=False)


def use(caller: Wire) -> set[str]:
    """How calls of all kinds end, when sent at once."""
    serials = [caller.call(*call) for call in CALLS]
    answers = [caller.reply(serial) for serial in serials]
    return {
        "reply" if a.message_type is MessageType.METHOD_RETURN else str(a.error_name)
        for a in answers
    }


@pytest.mark.parametrize("lie", LIES)
def test_lies(without_dobby: Victim, lie: str) -> None:
    with Liar(without_dobby.address, LIES[lie]), without_dobby.caller() as caller:
        for _ in range(3):
            assert use(caller) <= CLOSED_LIST - {errors.Failed.dbus_name} | {"reply"}


def test_lies_between_any_two_answers(without_dobby: Victim) -> None:
    """Each reply is wrong in another way, and signals without meaning come in between."""
    lies = list(LIES.values())
    turn = iter(range(1_000_000))

    def any_lie(call: Message) -> Message | None:
        number = next(turn)
        return (
            None if number % 29 == 0 else lies[number * 7 % len(lies)](call)
        )  # some are not answered at all

    with Liar(without_dobby.address, any_lie) as liar, without_dobby.caller() as caller:
        for number in range(MANY):
            liar.signal("Started", "is", number % 5 - 1, "ab"[number % 2])
            liar.signal("StoppedWithStatus", "isi", number % 3, "ab"[number % 2], -(number << 20))
            liar.signal("Stopped", "is", number % 4, "ab"[number % 2])
            liar.signal("Hibernated", "is", number % 4, "ab"[number % 2])
            liar.signal("Started", "ss", "1", "a")
            outcome = caller.outcome("getLastExit", "s", ("a",))
            assert outcome in CLOSED_LIST | {"reply"}
            assert caller.outcome("Ping", interface="org.freedesktop.DBus.Peer") == "reply"


def test_a_name_that_flaps(without_dobby: Victim) -> None:
    """A thousand owners, each gone before it could be queried. The last state counts."""
    files = without_dobby.files
    with Wire(without_dobby.address) as owner, without_dobby.caller() as caller:
        for _ in range(1000):
            owner.call("RequestName", "su", ("org.rdk.dobby", 0), **TO_THE_BUS)
            owner.call("ReleaseName", "s", ("org.rdk.dobby",), **TO_THE_BUS)
        assert owner.ask_bus("NameHasOwner", "s", "org.rdk.dobby") is False
        until(lambda: status(caller) == "absent")
        assert caller.outcome("listContainers") == f"{INTERFACE}.Error.DobbyUnavailable"
    assert without_dobby.files <= files + 1


def status(caller: Wire) -> str:
    get = caller.call(
        "Get", "ss", (INTERFACE, "DobbyStatus"), interface="org.freedesktop.DBus.Properties"
    )
    return str(caller.reply(get).body[0].value)
