# SPDX-License-Identifier: Apache-2.0
"""The line in front of Dobby, and the silence behind it."""

from typing import Any

import pytest

from ocibridge.bus.connection import ErrorReply
from ocibridge.dobby import protocol
from ocibridge.dobby.call_queue import CallQueue, PendingCall, SharedCall
from ocibridge.dobby.health import Health
from ocibridge.dobby.protocol import (
    LIST,
    PAUSE,
    START_FROM_SPEC,
    STOP,
    MalformedReply,
    Method,
    ReplyFailure,
    failure_of,
)
from ocibridge.errors import DobbyRefused


def call(method: Method[Any]) -> PendingCall[Any]:
    return PendingCall(method)


def sent(line: CallQueue) -> list[str]:
    members = []
    while line.waiting:
        turn = line.waiting.popleft()
        members.append(turn.method.member)
    return members


async def test_only_one_call_of_a_method_that_dobby_may_lack() -> None:
    line = CallQueue(":1.7")
    for method in (START_FROM_SPEC, START_FROM_SPEC, LIST, START_FROM_SPEC):
        line.join(call(method))
    assert sent(line) == ["StartFromSpec", "List"]
    assert line.queued == 2
    refused = line.has_failed("StartFromSpec", lacking=True)
    assert (len(refused), line.lacking, line.queued) == (2, {"StartFromSpec"}, 0)


async def test_after_the_first_answer_they_go_together() -> None:
    line = CallQueue(":1.7")
    for _ in range(4):
        line.join(call(PAUSE))
    assert sent(line) == ["Pause"]
    line.has_answered("Pause")
    line.join(call(PAUSE))
    assert sent(line) == ["Pause"] * 4


async def test_an_answer_that_proves_nothing_lets_the_next_one_try() -> None:
    line = CallQueue(":1.7")
    for _ in range(3):
        line.join(call(STOP))
    assert sent(line) == ["Stop"]
    line.has_failed("Stop", lacking=False)
    assert (sent(line), line.queued) == (["Stop"], 1)


async def test_what_dobby_could_not_take_keeps_its_place() -> None:
    line = CallQueue(":1.7")
    line.has_answered("Stop")
    calls = [call(STOP) for _ in range(6)]
    for one in calls:
        line.join(one)
    out = [line.waiting.popleft() for _ in range(4)]
    for refused in (out[1], out[3], out[2]):
        assert refused is not None
        line.put_back(refused)
    assert [line.waiting.popleft() for _ in range(5)] == [
        calls[1],
        calls[2],
        calls[3],
        calls[4],
        calls[5],
    ]


async def test_a_question_is_shared_and_asked_twice_at_the_most() -> None:
    asked: list[PendingCall[Any]] = []

    def ask() -> PendingCall[Any]:
        asked.append(call(STOP))
        return asked[-1]

    question = SharedCall(ask)
    first, second = question.share(60, fresh=False), question.share(60, fresh=False)
    first.cancel()
    asked[0].settle(1)
    assert (await second, len(asked)) == (1, 1)
    for _ in range(5):
        question.share(-1, fresh=False)  # no patience: each answer counts as lost
    assert len(asked) == 3
    asked[1].settle(2)
    question.share(-1, fresh=False)
    assert len(asked) == 4


async def test_an_answer_is_told_to_all_who_still_wait_and_to_those_who_come_later() -> None:
    asked = call(STOP)
    one, gone, other = asked.share(), asked.share(), asked.share()
    gone.cancel()
    assert asked.is_wanted
    asked.settle(True)
    asked.settle(None, DobbyRefused("too late"))
    assert [await one, await other, await asked.share()] == [True] * 3
    assert not asked.is_wanted


async def test_askers_who_gave_up_do_not_pile_up() -> None:
    slow = call(STOP)
    for _ in range(1000):
        slow.share().cancel()
    waiting = slow.share()
    assert len(slow.askers) == 1
    slow.settle(True)
    assert await waiting is True


async def test_a_refusal_is_told_to_all_who_ask_and_nobody_has_to_hear_it() -> None:
    refused = call(STOP)
    first, _ = refused.share(), refused.share()
    refused.settle(None, DobbyRefused("no"))
    for asker in (first, refused.share()):
        with pytest.raises(DobbyRefused, match="no"):
            await asker


async def test_leaving_before_ones_turn() -> None:
    line = CallQueue(":1.7")
    first, second, third = call(STOP), call(STOP), call(STOP)
    for one in (first, second, third):
        line.join(one)
    line.leave(second)
    line.leave(first)  # the others were held for this one
    assert line.waiting.popleft() is third
    assert line.queued == 0


@pytest.mark.parametrize(
    ("name", "text", "has_answered", "failure"),
    [
        (
            "ServiceUnknown",
            "The name org.rdk.dobby was not provided by any .service files",
            True,
            ReplyFailure.GONE,
        ),
        (
            "NoReply",
            "Message recipient disconnected from message bus without replying",
            True,
            ReplyFailure.GONE,
        ),
        ("UnknownObject", "Unknown object '/org/rdk/dobby'.", True, ReplyFailure.STARTING),
        (
            "UnknownMethod",
            "Unknown method List or interface org.rdk.dobby.ctrl1.",
            False,
            ReplyFailure.DEAF,
        ),
        (
            "UnknownMethod",
            "Unknown method List or interface org.rdk.dobby.ctrl1.",
            True,
            ReplyFailure.DEAF,
        ),
        (
            "UnknownMethod",
            "No handler for method org.rdk.dobby.ctrl1.StartFromSpec",
            True,
            ReplyFailure.LACKING,
        ),
        (
            "UnknownMethod",
            'Method "X" with signature "" on interface "y" doesn\'t exist\n',
            True,
            ReplyFailure.LACKING,
        ),
        (
            "UnknownMethod",
            'Method "List" with signature "" on interface "y" doesn\'t exist\n',
            False,
            ReplyFailure.STARTING,
        ),
        ("AccessDenied", "no", True, ReplyFailure.OTHER),
    ],
)
def test_what_an_error_tells_of_dobby(
    name: str, text: str, has_answered: bool, failure: ReplyFailure
) -> None:
    error = ErrorReply(f"org.freedesktop.DBus.Error.{name}", text)
    assert failure_of(error, has_answered=has_answered) is failure


@pytest.mark.parametrize(
    ("method", "body"),
    [
        (protocol.GET_INFO, (True,)),
        (protocol.GET_INFO, ()),
        (protocol.GET_STATE, (True,)),
        (protocol.GET_STATE, ("2",)),
        (protocol.STOP, (1,)),
        (protocol.START_FROM_BUNDLE, (1, 2)),
        (protocol.LIST, ([1], [])),
        (protocol.LIST, ([1],)),
        (protocol.LIST, (["a"], [1])),
        (protocol.LIST, ([True], ["a"])),
    ],
)
def test_replies_that_are_no_answers(method: Method[Any], body: tuple[Any, ...]) -> None:
    with pytest.raises(MalformedReply):
        method.decode(body)


def test_silence_is_asked_about_and_then_called_a_stall() -> None:
    now = [100.0]
    health = Health(lambda: now[0])
    asked = now[0]
    now[0] += 0.9
    assert not health.is_silent(asked)
    now[0] += 0.2
    assert health.is_silent(asked)
    assert not health.is_stalled(asked, asked)
    now[0] += 4
    assert health.is_stalled(asked, asked)
    assert not health.is_stalled(None, asked)  # without a Ping, silence proves nothing


def test_a_long_start_is_a_stall_only_after_thirty_seconds() -> None:
    now = [100.0]
    health = Health(lambda: now[0])
    started = now[0]
    for _ in range(29):
        now[0] += 1
        health.answered(work=False)
        assert not health.is_stalled(now[0], started)
    now[0] += 1
    health.answered(work=False)
    assert health.is_stalled(now[0], started)
    health.answered(work=True)
    assert not health.is_stalled(now[0], now[0])


def test_time_in_which_we_were_not_there_ourselves_is_no_silence() -> None:
    now = [0.0]
    health = Health(lambda: now[0])
    now[0] = 40.0
    assert health.is_stalled(0.0, 0.0)
    health.excuse(38.0)
    assert not health.is_stalled(0.0, 0.0)
    now[0] = 44.0
    assert health.is_stalled(0.0, 0.0)
