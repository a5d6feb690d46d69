# SPDX-License-Identifier: Apache-2.0
"""How late our events are after Dobby's, and what ocibridge adds to a start.

One observer receives the signals of both, so their times can be compared.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.programs import backend, memory_directory, memory_mib
from ocibridge.bus.connection import Bus, Message
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.processes import Process, fake_dobby, ocibridge, private_bus, until_owned

DOBBY: Final = ("org.rdk.dobby", "/org/rdk/dobby", "org.rdk.dobby.ctrl1")
OURS: Final = ("org.rdk.OCIContainer", "/org/rdk/OCIContainer", "org.rdk.OCIContainer1")
# Milliseconds. Short, so that the fake Dobby can produce a storm.
QUICK: Final = {"StartFromBundle": 1, "Stop": 1, "Reap": 1}
PATIENCE: Final = 120.0


@dataclass(frozen=True)
class Storm:
    """Many starts and stops.

    `took` and `latest` are seconds, `events` counts our signals received, `before` and `after` are
    our memory in MiB.
    """

    pairs: int
    took: float
    latest: float
    events: int
    before: float
    after: float


@dataclass(frozen=True)
class Starts:
    """Median microseconds of a start with its Started signal: at Dobby, and through us."""

    direct: float
    through: float


class Observer:
    """Receives the signals of Dobby and ours on one connection, with their times."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.dobby: dict[tuple[str, str], float] = {}
        self.ours: dict[tuple[str, str], float] = {}
        self._wanted = sys.maxsize
        self._complete = asyncio.Event()

    async def listen(self) -> None:
        """Start to record."""
        for member in ("Started", "Stopped"):
            await self._bus.watch(DOBBY[0], DOBBY[1], DOBBY[2], member, self._dobby_said)
            await self._bus.watch(OURS[0], OURS[1], OURS[2], f"onContainer{member}", self._we_said)

    def _dobby_said(self, message: Message) -> None:
        self.dobby[message.member or "", message.parse_to_tuple()[1]] = time.monotonic()

    def _we_said(self, message: Message) -> None:
        body: tuple[Any, ...] = message.parse_to_tuple()
        container_id = next(value for value in body if isinstance(value, str))
        self.ours[(message.member or "").removeprefix("onContainer"), container_id] = (
            time.monotonic()
        )
        if len(self.ours) >= self._wanted:
            self._complete.set()

    async def heard(self, count: int) -> None:
        """Wait until that many of our signals have arrived."""
        self._wanted = count
        if len(self.ours) < count:
            async with asyncio.timeout(PATIENCE):
                await self._complete.wait()

    def storm(self, pairs: int, before: float, after: float) -> Storm:
        """The result."""
        took = max(self.dobby.values()) - min(self.dobby.values())
        latest = max(self.ours[event] - self.dobby[event] for event in self.ours)
        return Storm(pairs, took, latest, len(self.ours), before, after)


async def _observed(
    address: str, ours: Process, pairs: int, play: Callable[[Bus], Awaitable[None]]
) -> Storm:
    bus = await Bus.open(address)
    observer = Observer(bus)
    await observer.listen()
    before = memory_mib(ours.child.pid)
    await play(await Bus.open(address))
    await observer.heard(2 * pairs)
    return observer.storm(pairs, before, memory_mib(ours.child.pid))


def in_a_row(pairs: int) -> Storm:
    """Through the fake Dobby: each start and stop as soon as the one before is done."""

    async def play(bus: Bus) -> None:
        with tempfile.TemporaryDirectory() as directory:
            bundle = str(make_bundle(Path(directory), "sleep"))
            for number in range(pairs):
                arguments: tuple[Any, ...] = (f"row{number}", bundle, [], "", "", [], 0, 0)
                reply = await bus.call(*DOBBY, "StartFromBundle", "ssahssasuu", *arguments)
                await bus.call(*DOBBY, "Stop", "ib", reply.get_contents(), True)

    with (
        memory_directory() as directory,
        private_bus() as address,
        fake_dobby(address, durations=QUICK),
    ):
        until_owned(address, DOBBY[0])
        with ocibridge(
            address, environment={"RUNTIME_DIRECTORY": directory}, stderr=subprocess.DEVNULL
        ) as ours:
            until_owned(address, OURS[0])
            return asyncio.run(_observed(address, ours, pairs, play))


def at_once(pairs: int) -> Storm:
    """From the backend in C: as fast as it can send, which is faster than any Dobby."""

    async def play(bus: Bus) -> None:
        await bus.call(DOBBY[0], DOBBY[1], "org.rdk.dobby.bench", "Storm", "i", pairs)

    with memory_directory() as directory, private_bus() as address, backend(address, 0):
        until_owned(address, DOBBY[0])
        with ocibridge(
            address, environment={"RUNTIME_DIRECTORY": directory}, stderr=subprocess.DEVNULL
        ) as ours:
            until_owned(address, OURS[0])
            return asyncio.run(_observed(address, ours, pairs, play))


def starts(count: int) -> Starts:
    """One start after another, at Dobby and through us in turn. This Dobby takes no time."""
    with memory_directory() as directory, private_bus() as address, backend(address, 0):
        until_owned(address, DOBBY[0])
        bundle = str(make_bundle(Path(directory), "sleep"))
        with ocibridge(
            address, environment={"RUNTIME_DIRECTORY": directory}, stderr=subprocess.DEVNULL
        ):
            until_owned(address, OURS[0])
            return asyncio.run(_starts(address, bundle, count))


async def _starts(address: str, bundle: str, count: int) -> Starts:
    bus = await Bus.open(address)
    direct, through = [], []
    for number in range(count):
        began = time.perf_counter()
        reply = await bus.call(
            *DOBBY, "StartFromBundle", "ssahssasuu", f"direct{number}", bundle, [], "", "", [], 0, 0
        )
        direct.append(time.perf_counter() - began)
        await bus.call(*DOBBY, "Stop", "ib", reply.get_contents(), True)
        began = time.perf_counter()
        await bus.call(*OURS, "startContainer", "ssssas", f"through{number}", bundle, "", "", [])
        through.append(time.perf_counter() - began)
        await bus.call(*OURS, "stopContainer", "sb", f"through{number}", True)
    return Starts(statistics.median(direct) * 1e6, statistics.median(through) * 1e6)
