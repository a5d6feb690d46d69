# SPDX-License-Identifier: Apache-2.0
"""The process over time: time to ready, idle cost, and growth over very many calls."""

import os
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.programs import (
    Target,
    backend,
    cpu_seconds,
    load,
    memory_directory,
    memory_mib,
)
from benchmarks.scale import INTERFACE, NAME, PATH
from tests.fake_dobby.processes import ocibridge, open_files, private_bus, until_owned

CONTAINERS: Final = 100
MIXTURE: Final = (
    Target(NAME, PATH, INTERFACE, "getContainerState", "s"),
    Target(NAME, PATH, INTERFACE, "listContainers", ""),
    Target(NAME, PATH, "org.freedesktop.DBus.Properties", "GetAll", f"={INTERFACE}"),
    Target(
        NAME,
        "/org/rdk/OCIContainer/container/bench7",
        "org.freedesktop.DBus.Properties",
        "GetAll",
        f"={INTERFACE}.Container",
    ),
    Target(NAME, PATH, "org.freedesktop.DBus.Introspectable", "Introspect", ""),
    Target(NAME, PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", ""),
)


@dataclass(frozen=True)
class Startup:
    """Medians over many starts, in seconds: until READY=1, and of a Python that does nothing."""

    ready: float
    python: float


@dataclass(frozen=True)
class Growth:
    """After that many calls: memory in MiB, and open files."""

    calls: int
    memory: float
    descriptors: int


@dataclass(frozen=True)
class Idle:
    """With containers and no calls: seconds observed, CPU seconds used, and wake-ups."""

    seconds: float
    cpu: float
    wakeups: int


def startup(times: int) -> Startup:
    """From the start to READY, with a Dobby that is ready."""
    with memory_directory() as directory, private_bus() as address, backend(address, 10):
        until_owned(address, "org.rdk.dobby")
        ready = [_until_ready(address, directory) for _ in range(times)]
    python = [_until_over([sys.executable, "-c", "pass"]) for _ in range(times)]
    return Startup(statistics.median(ready), statistics.median(python))


def _until_ready(address: str, directory: str) -> float:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        where = Path(directory, "notify")
        manager.bind(str(where))
        manager.settimeout(20)
        began = time.perf_counter()
        with ocibridge(
            address,
            environment={"RUNTIME_DIRECTORY": directory, "NOTIFY_SOCKET": str(where)},
            stderr=subprocess.DEVNULL,
        ):
            while b"READY=1" not in manager.recv(4096):
                pass
            took = time.perf_counter() - began
        where.unlink()
    return took


def _until_over(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, env=os.environ)
    return time.perf_counter() - began


def idle_and_growth(idle_seconds: float, calls: int) -> tuple[Idle, list[Growth]]:
    """First idle, then with that many calls of all read-only kinds."""
    with memory_directory() as directory, private_bus() as address, backend(address, CONTAINERS):
        until_owned(address, "org.rdk.dobby")
        with ocibridge(
            address, environment={"RUNTIME_DIRECTORY": directory}, stderr=subprocess.DEVNULL
        ) as ours:
            until_owned(address, NAME)
            pid = ours.child.pid
            return _idle(pid, idle_seconds), _grow(address, pid, calls)


def _idle(pid: int, seconds: float) -> Idle:
    before, woken = cpu_seconds(pid), _wakeups(pid)
    time.sleep(seconds)  # measures that nothing happens
    return Idle(seconds, cpu_seconds(pid) - before, _wakeups(pid) - woken)


def _wakeups(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(
        int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:")
    )


def _grow(address: str, pid: int, calls: int) -> list[Growth]:
    growth, done, due = [], 0, 0
    while done < calls:
        for target in MIXTURE:
            # One in flight: several large answers at once are refused (docs/design.md, Floods).
            done += load(address, target, 1, 0.5, CONTAINERS).calls
        if done >= due:
            growth.append(Growth(done, memory_mib(pid), open_files(pid)))
            due += calls // 10
    if growth[-1].calls < done:
        growth.append(Growth(done, memory_mib(pid), open_files(pid)))
    return growth
