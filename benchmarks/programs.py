# SPDX-License-Identifier: Apache-2.0
"""The programs of the benchmark: those in C, compiled on demand, and what processes cost."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fake_dobby.processes import ROOT, Process, memory_kib

SOURCES: Final = Path(__file__).with_name("c")
BUILT: Final = ROOT / "build" / "benchmarks"


def compiled(name: str) -> str:
    """The path of that C program. It is compiled if its sources are newer."""
    program = BUILT / name
    sources = [SOURCES / f"{name}.c", SOURCES / "names.h"]
    if not program.exists() or program.stat().st_mtime < max(
        source.stat().st_mtime for source in sources
    ):
        BUILT.mkdir(parents=True, exist_ok=True)
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "libsystemd"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        subprocess.run(
            ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, sources[0], *flags],
            check=True,
        )
    return str(program)


def backend(address: str, containers: int) -> Process:
    """The backend in Dobby's place, with that many containers."""
    return Process([compiled("backend"), str(containers)], {"DBUS_SESSION_BUS_ADDRESS": address})


def bus_process(address: str) -> int:
    """The process id of the bus."""
    driver = "org.freedesktop.DBus"
    call = [
        "busctl",
        f"--address={address}",
        "call",
        driver,
        "/",
        driver,
        "GetConnectionUnixProcessID",
        "s",
        driver,
    ]
    return int(subprocess.run(call, check=True, capture_output=True, text=True).stdout.split()[1])


def memory_directory() -> "tempfile.TemporaryDirectory[str]":
    """A directory in memory, like /run."""
    return tempfile.TemporaryDirectory(prefix="ocibridge-bench-", dir="/dev/shm")


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process so far, in seconds (from schedstat, exact to the nanosecond)."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def memory_mib(pid: int) -> float:
    """The memory of a process (VmRSS), in MiB."""
    return memory_kib(pid) / 1024


@dataclass(frozen=True)
class Target:
    """The method to call, and its one argument: "i" a descriptor, "s" an id, "" none."""

    name: str
    path: str
    interface: str
    member: str
    argument: str


@dataclass(frozen=True)
class Load:
    """The result of a run of calls. Latencies in microseconds."""

    calls: int
    seconds: float
    p50: float
    p99: float


def load(address: str, target: Target, depth: int, seconds: float, containers: int) -> Load:
    """Call for that many seconds, with `depth` in flight.

    A failed call ends the benchmark, since its figures would mean nothing.
    """
    arguments = [
        compiled("load"),
        target.name,
        target.path,
        target.interface,
        target.member,
        target.argument,
    ]
    result = subprocess.run(
        [*arguments, str(depth), str(seconds), str(containers)],
        env={"DBUS_SESSION_BUS_ADDRESS": address},
        check=True,
        capture_output=True,
        text=True,
    )
    calls, failures, took, p50, p99 = result.stdout.split()
    if int(failures):
        sys.exit(
            f"{failures} of {calls} calls of {target.member} of {target.name} failed: "
            f"{result.stderr}"
        )
    return Load(int(calls), float(took), float(p50), float(p99))
