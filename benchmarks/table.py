# SPDX-License-Identifier: Apache-2.0
"""The figures as Markdown."""

from collections.abc import Iterator
from typing import Final

from benchmarks.figures import Figures
from benchmarks.hops import DEPTHS, DIRECT, FLOOR, Run
from benchmarks.ratios import ratio, spread
from benchmarks.scale import READS

COLUMNS: Final = (
    "", "p50 µs", "p50 × direct", "p50 × C", "p99 × C", "calls/s", "calls/s × C", "CPU µs/call",
    "CPU × C", "bus CPU µs/call", "RSS MiB",
)  # fmt: skip


def markdown(figures: Figures) -> str:
    """All tables, one after the other."""
    tables = (_hops, _scale, _events, _access, _process)
    return "\n".join([*(line for table in tables for line in table(figures)), ""])


def _hops(figures: Figures) -> Iterator[str]:
    rounds = len({run.round for run in figures.runs})
    yield "# What ocibridge costs\n"
    yield f"By `make bench`, on {figures.machine}."
    yield f"{rounds} rounds, in each of which every subject is measured in turn. All share one"
    yield "private dbus-daemon and one backend in C that speaks Dobby's protocol and takes no time"
    yield "for it. Medians of the ratios within a round, with quartiles in brackets. CPU: of the"
    yield "bridge itself."
    yield "Below 1 is better for latency and CPU, above 1 for calls per second.\n"
    for depth in DEPTHS:
        yield f"## getContainerState, {depth} in flight\n"
        yield _head(*COLUMNS)
        for subject in dict.fromkeys(run.subject for run in figures.runs):
            yield _row(figures, subject, depth)
        yield ""


def _head(*columns: str) -> str:
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def _row(figures: Figures, subject: str, depth: int) -> str:
    runs = figures.runs

    def to_floor(figure: str) -> str:
        return str(ratio(runs, subject, FLOOR, depth, lambda run: _figure(run, figure)))

    def median(figure: str) -> float:
        return spread(runs, subject, depth, lambda run: _figure(run, figure)).median

    to_direct = ratio(runs, subject, DIRECT, depth, lambda run: run.p50).median
    cells = [
        subject,
        f"{median('p50'):.0f}",
        f"{to_direct:.2f}",
        to_floor("p50"),
        to_floor("p99"),
        f"{median('rate'):.0f}",
        to_floor("rate"),
        f"{median('cpu'):.1f}",
        to_floor("cpu"),
        f"{median('broker'):.1f}",
        f"{figures.memory[subject]:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _figure(run: Run, name: str) -> float:
    value: float = getattr(run, name)
    return value


def _scale(figures: Figures) -> Iterator[str]:
    counts = [scale.count for scale in figures.scales]
    yield "## Many containers\n"
    yield "Median latency, one in flight, in µs.\n"
    yield f"| | {' | '.join(f'{count} containers' for count in counts)} | ratio |"
    yield f"|---|{'---|' * (len(counts) + 1)}"
    for read in READS:
        values = [scale.p50[read] for scale in figures.scales]
        cells = [read, *(f"{value:.0f}" for value in values), f"{values[-1] / values[0]:.2f}"]
        yield f"| {' | '.join(cells)} |"
    yield f"| RSS, MiB | {' | '.join(f'{scale.memory:.1f}' for scale in figures.scales)} | |"
    yield ""


def _events(figures: Figures) -> Iterator[str]:
    yield "## Events\n"
    yield "One observer receives Dobby's Started and Stopped, and our signals. Delay: of ours after"
    yield "Dobby's.\n"
    yield _head(
        "storm",
        "starts and stops",
        "time, s",
        "longest delay, ms",
        "events",
        "RSS MiB before, after",
    )
    for name, storm in figures.storms.items():
        memory = f"{storm.before:.1f}, {storm.after:.1f}"
        delay = f"{storm.latest * 1e3:.1f}"
        yield f"| {name} | {storm.pairs} | {storm.took:.3f} | {delay} | {storm.events} | {memory} |"
    direct, through = figures.starts.direct, figures.starts.through
    yield f"\nA start that takes Dobby no time: {direct:.0f} µs directly, {through:.0f} µs through"
    yield "ocibridge (median).\n"


def _access(figures: Figures) -> Iterator[str]:
    if figures.access is None:
        return
    yield "## Access\n"
    yield "Judging one changing call by the rules of the key `access`. Reads are not judged.\n"
    yield _head("caller", "µs")
    for kind, cost in figures.access.judgements.items():
        yield f"| {kind} | {cost:.1f} |"
    yield "\nAn honest caller's getContainerState, 1 in flight, beside another user's calls, 2 in"
    yield "flight.\n"
    yield _head("the other user's calls", "calls/s", "p50 µs", "p99 µs", "p50 ×")
    alone = next(iter(figures.access.honest.values()))
    for what, honest in figures.access.honest.items():
        ratio_to_alone = honest.p50 / alone.p50
        cells = f"{honest.flood:.0f} | {honest.p50:.0f} | {honest.p99:.0f} | {ratio_to_alone:.2f}"
        yield f"| {what} | {cells} |"
    yield ""


def _process(figures: Figures) -> Iterator[str]:
    startup, idle = figures.startup, figures.idle
    yield "## The process\n"
    ratio_to_python = startup.ready / startup.python
    yield f"Start to READY: {startup.ready * 1e3:.0f} ms ({ratio_to_python:.1f} × a Python that"
    yield f"does nothing). Idle with 100 containers: {idle.cpu * 1e3:.1f} ms of CPU and"
    yield f"{idle.wakeups} wake-ups in {idle.seconds:.0f} s.\n"
    yield _head("calls of all read-only kinds", "RSS MiB", "open files")
    for step in figures.growth:
        yield f"| {step.calls} | {step.memory:.2f} | {step.descriptors} |"
