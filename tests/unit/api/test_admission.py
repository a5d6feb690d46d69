# SPDX-License-Identifier: Apache-2.0
"""Admission: calls are counted by user from arrival (docs/design.md, Floods)."""

from collections.abc import Callable
from typing import Any

import pytest

from ocibridge.api import admission
from ocibridge.api.admission import Admission
from ocibridge.api.call import Call
from ocibridge.api.methods import MethodSpec
from ocibridge.config.schema import Config, Limits, Settings
from ocibridge.errors import LimitsExceeded
from ocibridge.model import Caller


async def run(*_: Any) -> None:
    """What the members would do."""


READ = MethodSpec("listContainers", run)
WAIT = MethodSpec("waitForState", run, long_running=True)
CHANGE = MethodSpec("stopContainer", run, mutating=True)


class FakeCallers:
    """Callers whose users become known when the test says so."""

    def __init__(self) -> None:
        self.met: dict[str, Caller] = {}
        self._told: dict[Caller, Callable[[Caller], None]] = {}

    def meet(self, sender: str) -> Caller:
        return self.met.setdefault(sender, Caller(sender))

    def when_known(self, caller: Caller, told: Callable[[Caller], None]) -> None:
        self._told[caller] = told

    def tell(self, sender: str, uid: int, *, privileged: bool = False) -> None:
        caller = self.meet(sender)
        caller.uid, caller.is_privileged = uid, privileged
        if caller in self._told:
            self._told.pop(caller)(caller)


@pytest.fixture
def callers() -> FakeCallers:
    return FakeCallers()


@pytest.fixture
def admit(callers: FakeCallers) -> Callable[..., list[Call]]:
    """Admits so many calls of a sender; those that got a place."""
    gate = Admission(callers, Settings(Config(limits=Limits(per_caller=64, per_user=512))))  # type: ignore[arg-type] # a fake

    def admit_calls(spec: MethodSpec, sender: str, count: int = 1) -> list[Call]:
        admitted = []
        for _ in range(count):
            call = Call(spec, sender)
            try:
                gate.admit(call)
            except LimitsExceeded:
                continue
            admitted.append(call)
        return admitted

    admit_calls.gate = gate  # type: ignore[attr-defined]
    return admit_calls


def test_all_connections_of_a_user_count_together_reads_and_waits(
    admit: Any, callers: FakeCallers
) -> None:
    for number in range(20):
        callers.tell(f":1.{number}", 1000)
    admitted = [
        call
        for number in range(20)
        for call in admit(WAIT if number % 2 else READ, f":1.{number}", 64)
    ]
    assert len(admitted) == 512
    with pytest.raises(
        LimitsExceeded,
        match=r"512 reads and waits of user 1000 are under way already \(limits.per_user\)",
    ):
        admit.gate.admit(Call(READ, ":1.19"))
    callers.tell(":1.100", 1001)
    assert len(admit(READ, ":1.100")) == 1
    for call in admitted:
        admit.gate.leave(call)
    assert len(admit(READ, ":1.0", 64)) == 64


def test_short_waits_count_from_their_arrival(admit: Any, callers: FakeCallers) -> None:
    """512 long ones and 512 of 150 ms, issued again and again, must not keep root out."""
    for number in range(17):
        callers.tell(f":1.{number}", 1000)
    callers.tell(":1.root", 0, privileged=True)
    assert len([c for number in range(17) for c in admit(WAIT, f":1.{number}", 64)]) == 512
    assert len(admit(WAIT, ":1.root", 64)) == 64


def test_whose_user_is_unknown_shares_few_places_and_is_moved_when_it_is_known(
    admit: Any, callers: FakeCallers
) -> None:
    calls = [call for number in range(10) for call in admit(READ, f":1.{number}", 64)]
    assert len(calls) == 256
    callers.tell(":1.0", 1000)
    callers.tell(":1.1", 1000)
    assert len(admit(READ, ":1.9", 64)) == 64
    assert len(admit(READ, ":1.8", 64)) == 64
    assert admit(READ, ":1.7", 64) == []
    for call in calls:
        admit.gate.leave(call)
    assert len(admit(READ, ":1.7", 64)) == 64


def test_a_wait_that_turns_out_to_be_one_too_many_of_its_user_leaves(
    admit: Any, callers: FakeCallers
) -> None:
    """As many as necessary are refused, and no more."""
    for number in range(8):
        callers.tell(f":1.{number}", 1000)
        admit(WAIT, f":1.{number}", 62)
    late = admit(WAIT, ":1.late", 64)
    assert len(late) == 64
    callers.tell(":1.late", 1000)
    refused = 0
    for call in late:
        try:
            admit.gate.check_stay(call)
        except LimitsExceeded:
            refused += 1
    assert refused == 8 * 62 + 64 - 512


def test_some_places_are_for_those_who_are_trusted(admit: Any, callers: FakeCallers) -> None:
    for number in range(40):
        callers.tell(f":1.{number}", 1000 + number)
    assert len([c for number in range(40) for c in admit(READ, f":1.{number}", 64)]) == 1024 - 128
    callers.tell(":1.root", 0, privileged=True)
    callers.tell(":1.member", 500, privileged=True)
    assert len(admit(READ, ":1.root", 64)) == 64
    assert len(admit(READ, ":1.new", 32)) == 32  # who is not known yet may be trusted
    assert len(admit(READ, ":1.member", 64)) == 32
    assert len(admit(WAIT, ":1.0", 1)) == 0  # one connection's own limit
    assert len(admit(WAIT, ":1.50", 1)) == 1  # waits have places of their own


def test_calls_that_change_something_need_no_place(
    admit: Any, callers: FakeCallers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_UNDER_WAY", 0)
    assert len(admit(CHANGE, ":1.0", 65)) == 64
    assert callers.met == {}  # and are not held up by a look-up here


def test_waits_of_new_connections_keep_no_new_connection_from_reading(
    admit: Any, callers: FakeCallers
) -> None:
    assert callers.met == {}
    assert sum(len(admit(WAIT, f":1.{number}", 64)) for number in range(10)) == 256
    assert len(admit(READ, ":1.new", 1)) == 1
