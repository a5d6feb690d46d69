# SPDX-License-Identifier: Apache-2.0
"""The cost of reads with few containers and with many, compared with Dobby's own List."""

import subprocess
from dataclasses import dataclass
from typing import Final

from benchmarks.programs import Target, backend, load, memory_directory, memory_mib
from tests.fake_dobby.processes import ocibridge, private_bus, until_owned

COUNTS: Final = (10, 1000)
NAME: Final = "org.rdk.OCIContainer"
PATH: Final = "/org/rdk/OCIContainer"
INTERFACE: Final = "org.rdk.OCIContainer1"
READS: Final = {
    "Dobby's List, direct": Target(
        "org.rdk.dobby", "/org/rdk/dobby", "org.rdk.dobby.ctrl1", "List", ""
    ),
    "listContainers": Target(NAME, PATH, INTERFACE, "listContainers", ""),
    "getContainerState": Target(NAME, PATH, INTERFACE, "getContainerState", "s"),
    "Properties.GetAll of the manager": Target(
        NAME, PATH, "org.freedesktop.DBus.Properties", "GetAll", f"={INTERFACE}"
    ),
    "Properties.GetAll of a container": Target(
        NAME,
        "/org/rdk/OCIContainer/container/bench1",
        "org.freedesktop.DBus.Properties",
        "GetAll",
        f"={INTERFACE}.Container",
    ),
    "GetManagedObjects": Target(
        NAME, PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", ""
    ),
}


@dataclass(frozen=True)
class Scale:
    """With `count` containers: the median latency of each read in µs, and our memory in MiB."""

    count: int
    p50: dict[str, float]
    memory: float


def measure(seconds: float) -> list[Scale]:
    """Measure with each count."""
    return [_measure(count, seconds) for count in COUNTS]


def _measure(count: int, seconds: float) -> Scale:
    with memory_directory() as directory, private_bus() as address, backend(address, count):
        until_owned(address, "org.rdk.dobby")
        with ocibridge(
            address, environment={"RUNTIME_DIRECTORY": directory}, stderr=subprocess.DEVNULL
        ) as ours:
            until_owned(address, NAME)
            p50 = {
                name: load(address, target, 1, seconds, count).p50 for name, target in READS.items()
            }
            return Scale(count, p50, memory_mib(ours.child.pid))
