# SPDX-License-Identifier: Apache-2.0
"""The call queue and shared calls: order, freshness, and that nothing outlives its call."""

import asyncio
import gc
from typing import Any

from ocibridge.dobby.call_queue import CallQueue, PendingCall, SharedCall
from ocibridge.dobby.protocol import GET_STATE, LIST, STOP
from ocibridge.errors import DobbyRefused
from ocibridge.mirror.mirror import MAX_REMEMBERED, Freshness


async def test_calls_held_for_the_first_go_in_their_order() -> None:
    line = CallQueue(":1.7")
    calls = [PendingCall(STOP) for _ in range(4)]
    for call in calls:
        line.join(call)
    assert line.waiting.popleft() is calls[0]
    line.has_answered("Stop")
    assert list(line.waiting) == calls[1:]


async def test_all_that_is_not_answered_is_in_the_line_once() -> None:
    """Those all are told when Dobby goes away."""
    line = CallQueue(":1.7")
    out, held, waiting = PendingCall(STOP), PendingCall(STOP), PendingCall(LIST)
    for call in (out, held, waiting):
        line.join(call)
    line.in_flight[asyncio.get_running_loop().create_future()] = line.waiting.popleft()
    everything = list(line)
    assert len(everything) == 3
    assert {id(call) for call in everything} == {id(call) for call in (out, held, waiting)}


async def test_a_call_that_was_put_back_has_not_been_sent() -> None:
    line = CallQueue(":1.7")
    call = PendingCall(STOP)
    line.join(call)
    line.waiting.popleft()
    call.sent_at = 5.0
    line.put_back(call)
    assert (call.sent_at, list(line.waiting)) == (0.0, [call])


async def test_a_refusal_that_nobody_hears_is_no_complaint() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, complaint: complaints.append(complaint)
    )
    call = PendingCall(STOP)
    call.share()
    call.settle(None, DobbyRefused("no"))
    assert len(call.askers) == 0  # nor is any kept
    del call
    gc.collect()
    assert complaints == []


class Asking:
    """A shared question, and the calls that it has made."""

    def __init__(self) -> None:
        self.calls: list[PendingCall[Any]] = []
        self.question = SharedCall(self._ask)

    def _ask(self) -> PendingCall[Any]:
        self.calls.append(PendingCall(GET_STATE))
        return self.calls[-1]

    def asks(self, *, fresh: bool) -> bool:
        """Whether one more who asks makes a call."""
        before = len(self.calls)
        self.question.share(60, fresh=fresh)
        return len(self.calls) > before


async def test_a_call_that_has_not_gone_out_is_fresh() -> None:
    asking = Asking()
    assert asking.asks(fresh=True)
    assert not asking.asks(fresh=True)
    assert not asking.asks(fresh=False)


async def test_a_call_that_has_gone_out_is_not_fresh_and_shared_all_the_same() -> None:
    asking = Asking()
    asking.asks(fresh=False)
    asking.calls[0].sent_at = 5.0
    assert not asking.asks(fresh=False)
    assert asking.asks(fresh=True)
    assert not asking.asks(fresh=True)


async def test_an_answer_that_has_come_is_never_used_again() -> None:
    asking = Asking()
    asking.asks(fresh=False)
    asking.calls[0].sent_at = 5.0
    asking.calls[0].settle(2)
    assert asking.asks(fresh=False)


def touched(order: Freshness, container_id: str, living: int = 0) -> None:
    order.position += 1
    order.touch(container_id, living)


def test_of_the_ids_that_came_and_went_the_last_are_remembered() -> None:
    order = Freshness()
    for number in range(MAX_REMEMBERED):
        touched(order, f"a{number}")
    touched(order, "a0")  # it is the youngest now
    touched(order, "b")
    assert [order.is_fresh(container_id, 0) for container_id in ("a0", "b", "a2")] == [False] * 3
    assert order.is_fresh("a1", 0)


def test_the_living_are_remembered_beside_them() -> None:
    order = Freshness()
    for number in range(MAX_REMEMBERED + 2):
        touched(order, f"a{number}", living=2)
    assert not order.is_fresh("a0", 0)
    touched(order, "b", living=2)
    assert order.is_fresh("a0", 0)


def test_an_answer_counts_from_the_touch_on() -> None:
    order = Freshness()
    touched(order, "x")
    touched(order, "a")
    assert [order.is_fresh("a", asked) for asked in (1, 2, 3)] == [False, True, True]
