# SPDX-License-Identifier: Apache-2.0
"""A call through a bridge compared with its floor.

All subjects share one bus and one backend. They are measured in turn, in many rounds.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.programs import (
    Target,
    backend,
    bus_process,
    compiled,
    cpu_seconds,
    load,
    memory_mib,
)
from tests.fake_dobby.processes import ROOT, Process, until_owned

CONTAINERS: Final = 128  # more than are in flight, so that no two calls share an answer
DEPTHS: Final = (1, 8, 64)
DIRECT: Final = "direct call"
FLOOR: Final = "C forwarder"
OURS: Final = "ocibridge"
PLAIN: Final = "ocibridge without uvloop"
OCIBRIDGE: Final = str(Path(sys.executable).with_name("ocibridge"))
WITHOUT_UVLOOP: Final = (
    "import sys; sys.modules['uvloop'] = None; from ocibridge.__main__ import main; "
    "sys.exit(main())"
)
PEERS: Final = {
    "python-sdbus, classes": "sdbus_classes",
    "dbus-fast, classes": "dbus_fast_classes",
    "dbus-fast, messages": "dbus_fast_messages",
}


@dataclass(frozen=True)
class Run:
    """One run of one subject in one round.

    `cpu` and `broker` are microseconds of CPU per call, `p50` and `p99` latencies in microseconds.
    """

    subject: str
    depth: int
    round: int
    p50: float
    p99: float
    rate: float
    cpu: float
    broker: float


@dataclass(frozen=True)
class Subject:
    """What is measured: whom to call, and the process whose CPU time counts."""

    name: str
    target: Target
    process: Process


def _forwarder(name: str) -> Target:
    return Target(name, "/org/rdk/OCIContainer", "org.rdk.OCIContainer1", "getContainerState", "s")


@contextmanager
def subjects(address: str, directory: Path) -> Iterator[list[Subject]]:
    """All subjects, running."""
    environment = {"DBUS_SESSION_BUS_ADDRESS": address, "PYTHONPATH": str(ROOT)}
    with ExitStack() as stack:
        dobby = stack.enter_context(backend(address, CONTAINERS))
        until_owned(address, "org.rdk.dobby")
        found = [
            Subject(
                DIRECT,
                Target("org.rdk.dobby", "/org/rdk/dobby", "org.rdk.dobby.ctrl1", "GetState", "i"),
                dobby,
            )
        ]
        commands = {FLOOR: [compiled("forwarder")]} | {
            name: [sys.executable, "-m", f"benchmarks.peers.{module}"]
            for name, module in PEERS.items()
        }
        for number, (name, command) in enumerate(commands.items()):
            bus_name = f"org.rdk.bench.Peer{number}"
            found.append(
                Subject(
                    name,
                    _forwarder(bus_name),
                    stack.enter_context(Process([*command, bus_name], environment)),
                )
            )
            until_owned(address, bus_name)
        for name, command in {
            OURS: [OCIBRIDGE],
            PLAIN: [sys.executable, "-c", WITHOUT_UVLOOP],
        }.items():
            config = directory / f"{len(found)}.yaml"
            bus_name = f"org.rdk.bench.Ocibridge{len(found)}"
            config.write_text(f"callsign: {bus_name}\n")
            ours = [*command, "--bus", address, "--config", str(config)]
            process = Process(
                ours, environment | {"RUNTIME_DIRECTORY": str(directory)}, stderr=subprocess.DEVNULL
            )
            found.append(Subject(name, _forwarder(bus_name), stack.enter_context(process)))
            until_owned(address, bus_name)
        yield found


def measure(address: str, found: list[Subject], rounds: int, seconds: float) -> Iterator[Run]:
    """Each subject at each depth in each round, in rotating order."""
    broker = bus_process(address)
    for subject in found:  # warm up
        load(address, subject.target, 8, seconds, CONTAINERS)
    for number in range(rounds):
        turn = number % len(found)
        for depth in DEPTHS:
            for subject in found[turn:] + found[:turn]:
                yield _run(address, broker, subject, depth, number, seconds)


def _run(
    address: str, broker: int, subject: Subject, depth: int, number: int, seconds: float
) -> Run:
    pids = subject.process.child.pid, broker
    before = [cpu_seconds(pid) for pid in pids]
    seen = load(address, subject.target, depth, seconds, CONTAINERS)
    cpu, broker_cpu = [
        (cpu_seconds(pid) - then) * 1e6 / seen.calls for pid, then in zip(pids, before, strict=True)
    ]
    return Run(
        subject.name, depth, number, seen.p50, seen.p99, seen.calls / seen.seconds, cpu, broker_cpu
    )


def memory(found: list[Subject]) -> dict[str, float]:
    """The memory of each, in MiB."""
    return {subject.name: memory_mib(subject.process.child.pid) for subject in found}
