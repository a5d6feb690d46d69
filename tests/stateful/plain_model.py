# SPDX-License-Identifier: Apache-2.0
"""The expected state of the mirror, computed in the plainest way.

One record per container. For each query to Dobby, the ids that signals have named since it was
sent.
"""

from dataclasses import dataclass, field
from typing import Any

Origin = tuple[str, str]  # what started it, and a path unique to that start
UNKNOWN: Origin = ("unknown", "")


@dataclass(eq=False)
class Question:
    """A query in flight.

    `named`: ids that signals have named since it was sent. Its reply is outdated for these.
    """

    kind: str
    about: Any = None
    as_of: int = 0
    named: set[str] = field(default_factory=set)
    serials_then: set[int] = field(default_factory=set)  # those open when it was sent
    settles: Any = None
    for_snapshot: bool = False
    restarts: bool = False


@dataclass
class Thing:
    """A container, as far as we know."""

    name: str
    number: int
    origin: Origin
    seen_start: bool
    announced: bool = False
    word: str = "Running"
    status: int | None = None
    # who requested it, and whether it is in flight
    stops: list[list[Any]] = field(default_factory=list)
    unconfirmed: int = 0  # number of the question whether it has ended
    odd: int = 0  # number of the question whether it is Invalid
    hidden: bool = False
    held: int = 0  # number of the hold, while Dobby may be shutting down as well
    gone: bool = False  # it has ended, and the end is held back

    def substate(self) -> str:
        return (
            "Stopping"
            if self.word == "Running" and any(active for _, active in self.stops)
            else self.word
        )


class PlainModel:
    """Receives every message in the order of its delivery."""

    def __init__(self) -> None:
        self.status = "absent"
        self.things: dict[str, Thing] = {}
        self.starting: dict[str, Origin] = {}
        self.ends: list[tuple[Any, ...]] = []
        self.unannounced_ends: list[tuple[str, int]] = []
        self.serial = 0
        self.open: list[Question] = []

    def listing(self) -> list[tuple[Any, ...]]:
        return sorted(
            (t.name, t.number, t.substate(), t.origin, t.seen_start)
            for t in self.things.values()
            if not (t.hidden or t.gone)
        )

    def count(self) -> int:
        return sum(t.announced for t in self.things.values())

    def ask(self, question: Question) -> None:
        question.serials_then = set(range(1, self.serial + 1))
        self.open.append(question)

    def name(self, name: str) -> None:
        """A signal names it."""
        for question in self.open:
            question.named.add(name)

    def thing(self, name: str, number: int) -> Thing | None:
        found = self.things.get(name)
        return found if found is not None and found.number == number and not found.gone else None

    # Dobby's owner.

    def lost(self) -> None:
        self.status = "absent"
        for name in sorted(self.things):
            self.end(self.things[name], "dobby-gone")
        self.starting.clear()
        self.open.clear()

    def snapshot_taken(self) -> None:
        for thing in self.things.values():
            thing.announced = thing.announced or not (thing.hidden or thing.gone)
        self.status = "ready"

    # Containers.

    def new(self, name: str, number: int, origin: Origin, *, seen_start: bool) -> Thing:
        if name in self.things:
            self.end(self.things[name], "lost")
        for old in [t for t in self.things.values() if t.number == number]:
            self.end(old, "lost")
        self.things[name] = Thing(name, number, origin, seen_start)
        return self.things[name]

    def is_in(self, thing: Thing, word: str) -> None:
        thing.word, thing.hidden, thing.odd = word, False, 0
        thing.announced = thing.announced or self.status != "starting"

    def end(self, thing: Thing, how: str) -> None:
        del self.things[thing.name]
        if not thing.announced:
            self.unannounced_ends.append((thing.name, thing.number))
            return
        killed = thing.status is not None and 0 < thing.status & 0x7F < 0x7F
        exited = (
            (thing.status >> 8) & 0xFF
            if thing.status is not None and not thing.status & 0x7F
            else 0
        )
        if (thing.unconfirmed or thing.status is not None) and not (
            how == "dobby-gone" and thing.held
        ):
            how = "said"
        if how != "dobby-gone" and thing.stops:
            how = "requested"
        reason = ("crashed" if killed else "exited") if how == "said" else how
        code = {"crashed": 3, "lost": 4, "dobby-gone": 4, "exited": 2 if exited else None}.get(
            reason
        )
        who = thing.stops[0][0] if thing.stops else None
        self.ends.append(
            (thing.name, thing.number, reason, thing.status, who, None if who else code)
        )

    def conclude(self, thing: Thing, how: str) -> None:
        if thing.held:
            thing.gone = True
        else:
            self.end(thing, how)

    def release(self, name: str) -> None:
        """A caller needs to know."""
        thing = self.things.get(name)
        if thing is not None:
            thing.held = 0
            if thing.gone:
                self.end(thing, "said")

    def hold_over(self, name: str, holding: int) -> None:
        if name in self.things and self.things[name].held == holding:
            self.release(name)

    # Signals.

    def started(self, number: int, name: str) -> None:
        self.name(name)
        thing = self.thing(name, number) or self.new(
            name, number, self.starting.get(name, UNKNOWN), seen_start=True
        )
        self.is_in(thing, "Running")

    def status_reported(self, number: int, name: str, status: int) -> None:
        thing = self.thing(name, number)
        if thing is not None:
            thing.status, thing.held = status, 0
            if status & 0x7F in {9, 15} and not thing.stops:
                self.serial += 1
                thing.held = self.serial

    def stopped(self, number: int, name: str) -> None:
        self.name(name)
        thing = self.thing(name, number)
        if thing is not None and thing.origin[0] == "bundle":
            self.conclude(thing, "said")
        elif thing is not None:
            self.serial += 1
            thing.unconfirmed = self.serial

    def state_signalled(self, number: int, name: str, word: str) -> None:
        thing = self.thing(name, number)
        if thing is not None:
            self.name(name)
            self.is_in(thing, word)

    # Replies.

    def listed(self, question: Question, entries: list[tuple[int, str]]) -> None:
        for number, name in entries:
            thing = self.thing(name, number)
            if thing is not None:
                self.present(question, thing)
            elif name not in question.named:
                self.new(name, number, UNKNOWN, seen_start=False)
        names = {name for _, name in entries}
        for name, thing in sorted(self.things.items()):
            if name in names or name in question.named or thing.gone:
                continue
            if thing.unconfirmed:
                self.conclude(thing, "said")
            else:
                thing.hidden = True

    def present(self, question: Question, thing: Thing) -> None:
        thing.hidden = False
        if thing.unconfirmed in question.serials_then:
            thing.unconfirmed, thing.status, thing.seen_start, thing.held = 0, None, True, 0
        if thing.odd in question.serials_then:
            self.is_in(thing, "Invalid")

    def state_seen(self, question: Question, number: int, word: str) -> None:
        thing = next((t for t in self.things.values() if t.number == number), None)
        if thing is None or thing.gone or thing.name in question.named:
            return
        if word == "Invalid":
            self.serial += 1
            thing.odd = self.serial
        else:
            self.is_in(thing, word)

    def start_answered(self, question: Question, name: str, number: int) -> None:
        origin = self.starting.pop(name)
        thing = self.things.get(name)
        if thing is not None and thing.gone:
            thing = None
        if thing is None and number > 0 and name not in question.named:
            self.name(name)
            self.is_in(self.new(name, number, origin, seen_start=True), "Running")
        elif thing is not None and thing.number == number:
            thing.origin = origin
        elif thing is not None and thing.origin == origin:
            thing.origin = UNKNOWN

    def confirmed(self, name: str, number: int, unconfirmed: int) -> None:
        thing = self.thing(name, number)
        if thing is not None and (
            thing.hidden or (unconfirmed and thing.unconfirmed == unconfirmed)
        ):
            self.conclude(thing, "lost")
