# SPDX-License-Identifier: Apache-2.0
"""Ratios of runs of the same round, with quartiles, which a noisy machine leaves meaningful."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.hops import Run


@dataclass(frozen=True)
class Spread:
    """The median over many rounds, and its quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Computed from at least one value."""
        low, median, high = (
            statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        )
        return cls(low, median, high)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


Figure = Callable[[Run], float]


def spread(runs: list[Run], subject: str, depth: int, figure: Figure) -> Spread:
    """Of a figure itself."""
    return Spread.of([figure(run) for run in runs if run.subject == subject and run.depth == depth])


def ratio(runs: list[Run], subject: str, to: str, depth: int, figure: Figure) -> Spread:
    """Of a figure divided by that of `to` in the same round."""
    floor = {run.round: figure(run) for run in runs if run.subject == to and run.depth == depth}
    return Spread.of(
        [
            figure(run) / floor[run.round]
            for run in runs
            if run.subject == subject and run.depth == depth
        ]
    )
