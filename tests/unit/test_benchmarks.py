# SPDX-License-Identifier: Apache-2.0
"""The statistics of the benchmark: a wrong ratio would not be noticed in the tables."""

import pytest

from benchmarks.hops import DIRECT, FLOOR, OURS, Run
from benchmarks.ratios import Spread, ratio, spread


def run(subject: str, number: int, p50: float, depth: int = 1) -> Run:
    return Run(subject, depth, number, p50, 2 * p50, 1e6 / p50, p50 / 2, 1.0)


def test_ratios_are_those_of_the_same_round() -> None:
    """A machine three times as slow in one round changes the figures, not their ratio."""
    runs = [
        run(FLOOR, 0, 100),
        run(OURS, 0, 150),
        run(OURS, 1, 450),
        run(FLOOR, 1, 300),
        run(OURS, 0, 9, depth=8),
        run(FLOOR, 0, 3, depth=8),
    ]
    found = ratio(runs, OURS, FLOOR, 1, lambda r: r.p50)
    assert (found.low, found.median, found.high) == (1.5, 1.5, 1.5)
    assert ratio(runs, OURS, FLOOR, 8, lambda r: r.p50).median == 3
    assert ratio(runs, OURS, FLOOR, 1, lambda r: r.rate).median == pytest.approx(1 / 1.5)
    assert spread(runs, OURS, 1, lambda r: r.p50).median == 300


def test_a_round_that_lacks_the_floor_is_no_ratio() -> None:
    with pytest.raises(KeyError):
        ratio([run(OURS, 0, 150), run(DIRECT, 0, 100)], OURS, FLOOR, 1, lambda r: r.p50)


def test_quartiles() -> None:
    assert str(Spread.of([1.0, 2.0, 3.0, 4.0, 5.0])) == "3.00 (2.00-4.00)"
    assert str(Spread.of([7.0])) == "7.00 (7.00-7.00)"
