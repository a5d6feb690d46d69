# SPDX-License-Identifier: Apache-2.0
"""The figures of one run of the benchmark, as they are stored and printed."""

from pathlib import Path

import msgspec

from benchmarks.access import Access
from benchmarks.events import Starts, Storm
from benchmarks.hops import Run
from benchmarks.process import Growth, Idle, Startup
from benchmarks.scale import Scale


class Figures(msgspec.Struct):
    """All figures of one run.

    `machine` describes the machine. `memory` is in MiB, by subject, after the hops.
    """

    machine: str
    runs: list[Run]
    memory: dict[str, float]
    scales: list[Scale]
    storms: dict[str, Storm]
    starts: Starts
    startup: Startup
    idle: Idle
    growth: list[Growth]
    access: Access | None = None  # not measured without root

    def keep(self, path: Path) -> None:
        """Write them, so that they can be plotted without measuring again."""
        path.write_bytes(msgspec.json.encode(self))

    @classmethod
    def kept(cls, path: Path) -> "Figures":
        """Read what `keep` has written."""
        return msgspec.json.decode(path.read_bytes(), type=cls)
