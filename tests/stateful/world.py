# SPDX-License-Identifier: Apache-2.0
"""A random Dobby: its containers, its one work queue, and what it sends to us.

See (docs/dobby.md, Signals and their order), (docs/dobby.md, The work queue) and
(docs/dobby.md, Life and death).
"""

import itertools
from collections import deque
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.stateful.plain_model import Question

IDS = st.sampled_from(["a", "b", "c.d"])
# Exit 0 and others, signals with and without a core, and values that are no valid end.
STATUSES = st.sampled_from([0, 256, 10752, 65280, 15, 9, 139, 6, 0x7F, -1])
WORDS = st.sampled_from(
    [
        "Running",
        "Paused",
        "Hibernating",
        "Hibernated",
        "Awakening",
        "Starting",
        "Stopping",
        "Invalid",
        "Invalid",
    ]
)


class Real:
    """A container as Dobby has it."""

    def __init__(self, number: int, restarts: bool) -> None:
        self.number = number
        self.restarts = restarts  # after a crash: only a spec can request that
        self.word = "Running"


class World(RuleBasedStateMachine):
    """Dobby's side.

    The wire keeps its order. Messages on it may arrive late, even after Dobby's death.
    """

    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count(1)
        self.owners = itertools.count(1)
        self.owner = ""  # of the running Dobby
        self.real: dict[str, Real] = {}
        self.erased: list[tuple[int, str, int]] = []  # ended, but not yet reported by Dobby
        self.queue: deque[Question] = deque()
        self.wire: deque[tuple[Any, ...]] = deque()

    @precondition(lambda self: not self.owner)
    @rule(there=st.booleans(), quickly=st.booleans())
    def returns(self, there: bool, quickly: bool) -> None:
        self.owner = f":1.{next(self.owners)}"
        self.wire.append(("Appeared", self.owner))
        if there:
            self.real["a"] = Real(next(self.numbers), restarts=True)
        if quickly:
            self.catch_up()

    def catch_up(self) -> None:
        """Deliver everything in flight, and let Dobby answer every query."""
        raise NotImplementedError

    @precondition(lambda self: self.owner)
    @rule(really=st.integers(0, 7))
    def dies(self, really: int) -> None:
        """Rarely, so that other things happen as well."""
        if not really:
            self.death()

    @precondition(lambda self: self.real)
    @rule(how=st.sampled_from([9, 15]), leaves=st.booleans())
    def is_stopped_with_its_containers(self, how: int, leaves: bool) -> None:
        """As systemd stops it: the containers first. Sometimes Dobby keeps running."""
        for name in list(self.real):
            self.exits(name, how)
        self.says_what_has_ended()
        if leaves:
            self.death()

    def death(self) -> None:
        self.owner = ""
        self.real.clear()
        self.erased.clear()
        self.queue.clear()
        self.wire.append(("Lost",))

    @precondition(lambda self: self.owner)
    @rule(name=IDS)
    def somebody_starts(self, name: str) -> None:
        if name not in self.real:
            self.start(name)

    def start(self, name: str, *, restarts: bool = True) -> int:
        self.real[name] = Real(next(self.numbers), restarts)
        self.wire.append(("Started", self.real[name].number, name))
        return self.real[name].number

    @rule(name=IDS, status=STATUSES)
    def exits(self, name: str, status: int) -> None:
        if name in self.real:
            self.erased.append((self.real.pop(name).number, name, status))

    @precondition(lambda self: self.erased)
    @rule()
    def says_what_has_ended(self) -> None:
        for number, name, status in self.erased:
            self.wire.append(("EndStatus", number, name, status))
            self.wire.append(("Stopped", number, name))
        self.erased.clear()

    @rule(name=IDS)
    def vanishes(self, name: str) -> None:
        self.real.pop(name, None)

    @rule(name=IDS, status=STATUSES)
    def restarts_on_crash(self, name: str, status: int) -> None:
        if name in self.real and self.real[name].restarts:
            number = self.real[name].number
            self.real[name].word = "Running"
            for word in ("Started", "Started", "EndStatus", "Stopped"):
                self.wire.append((word, number, name, *([status] if word == "EndStatus" else [])))

    @rule(name=IDS, word=WORDS, say=st.booleans())
    def changes(self, name: str, word: str, say: bool) -> None:
        if name in self.real:
            self.real[name].word = word
            if say and word in {"Hibernated", "Running"}:
                self.wire.append(("StateSignal", self.real[name].number, name, word))

    @precondition(lambda self: self.queue)
    @rule(fails=st.booleans(), count=st.integers(1, 6))
    def works(self, fails: bool, count: int) -> None:
        for _ in range(min(count, len(self.queue))):
            question = self.queue.popleft()
            self.wire.append(("reply", question, self.do(question, fails)))

    @precondition(lambda self: self.queue)
    @rule()
    def works_and_the_answer_is_lost(self) -> None:
        if self.queue[0].kind != "Start":  # otherwise ocibridge would not know the end of it either
            self.do(self.queue.popleft(), fails=False)

    def do(self, question: Question, fails: bool) -> Any:
        match question.kind:
            case "List":
                return [(real.number, name) for name, real in sorted(self.real.items())]
            case "GetState":
                return next(
                    (real.word for real in self.real.values() if real.number == question.about),
                    "Invalid",
                )
            case "Start":
                return (
                    0
                    if fails or question.about in self.real
                    else self.start(question.about, restarts=question.restarts)
                )
            case _:
                if not fails:
                    self.exits(question.about, 15)
                return not fails
