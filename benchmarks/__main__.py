# SPDX-License-Identifier: Apache-2.0
"""`make bench`: measure, and write the tables, the plot and the raw figures."""

import argparse
import os
import platform
import sys
from pathlib import Path

from benchmarks import access, events, hops, plot, process, scale, table
from benchmarks.figures import Figures
from benchmarks.programs import memory_directory
from tests.fake_dobby.processes import private_bus


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description="What ocibridge costs, compared with the floor."
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=40,
        help="of the hops; each subject is measured once per round",
    )
    parser.add_argument("--seconds", type=float, default=0.3, help="duration of a single run")
    parser.add_argument("--storm", type=int, default=1000, help="starts and stops in a row")
    parser.add_argument("--idle", type=float, default=60, help="seconds without calls")
    parser.add_argument(
        "--calls", type=int, default=1_000_000, help="of the process that is observed over time"
    )
    parser.add_argument(
        "--into", type=Path, default=Path(__file__).parent, help="directory for the results"
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="write the tables from the last results, without measuring",
    )
    return parser.parse_args()


def _measure(options: argparse.Namespace) -> Figures:
    runs, memory = _hops(options)
    _say("many containers")
    scales = scale.measure(options.seconds * 2)
    _say("storms and starts")
    storms = {
        "through the fake Dobby, one after the other": events.in_a_row(options.storm),
        "all at once, as fast as C can send": events.at_once(options.storm),
    }
    starts = events.starts(min(options.storm, 300))
    _say("access")
    rules = access.measure(options.seconds * 4)
    _say("the process over time")
    idle, growth = process.idle_and_growth(options.idle, options.calls)
    return Figures(
        _machine(), runs, memory, scales, storms, starts, process.startup(11), idle, growth, rules
    )


def _hops(options: argparse.Namespace) -> tuple[list[hops.Run], dict[str, float]]:
    with (
        memory_directory() as directory,
        private_bus() as address,
        hops.subjects(address, Path(directory)) as found,
    ):
        _say(f"{', '.join(subject.name for subject in found)}: {options.rounds} rounds")
        runs = list(hops.measure(address, found, options.rounds, options.seconds))
        return runs, hops.memory(found)


def _machine() -> str:
    model = next(
        (
            line.split(": ", 1)[1]
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "",
    )
    return (
        f"{os.cpu_count()} CPUs ({model.strip()}), Linux {platform.release()}, Python "
        f"{platform.python_version()}"
    )


def _say(what: str) -> None:
    print(f"benchmarks: {what}", file=sys.stderr, flush=True)


def main() -> None:
    """Run the benchmark."""
    options = _options()
    kept = options.into / "results.json"
    figures = Figures.kept(kept) if options.again else _measure(options)
    options.into.mkdir(parents=True, exist_ok=True)
    figures.keep(kept)
    (options.into / "results.md").write_text(table.markdown(figures))
    plot.draw(figures, options.into / "results.png")
    _say(f"written to {options.into}")


main()
