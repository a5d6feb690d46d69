"""The figures as Markdown."""

from collections.abc import Iterator

from benchmarks.figures import Figures
from benchmarks.hops import DEPTHS, DIRECT, FLOOR, Run
from benchmarks.ratios import ratio, spread
from benchmarks.scale import READS


def markdown(figures: Figures) -> str:
    """All tables, one after the other."""
    return "\n".join([*_hops(figures), *_scale(figures), *_events(figures), *_life(figures), ""])


def _hops(figures: Figures) -> Iterator[str]:
    rounds = len({run.round for run in figures.runs})
    yield "# What ocibridge costs\n"
    yield f"By `make bench`, on {figures.machine}: {rounds} rounds, in each of them everybody in turn, on one private dbus-daemon,"
    yield "before one backend in C that speaks Dobby's protocol and takes no time for it. Medians, and in brackets quartiles, of the"
    yield "ratios within a round. CPU: of the bridge itself. Below 1 is better for latency and CPU, above 1 for calls a second.\n"
    for depth in DEPTHS:
        yield f"## getContainerState, {depth} in flight\n"
        yield "| | p50 µs | p50 × direct | p50 × C | p99 × C | calls/s | calls/s × C | CPU µs/call | CPU × C | bus CPU µs/call | RSS MiB |"
        yield "|---|---|---|---|---|---|---|---|---|---|---|"
        for subject in dict.fromkeys(run.subject for run in figures.runs):
            yield _row(figures, subject, depth)
        yield ""


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
        yield f"| {read} | {' | '.join(f'{value:.0f}' for value in values)} | {values[-1] / values[0]:.2f} |"
    yield f"| RSS, MiB | {' | '.join(f'{scale.memory:.1f}' for scale in figures.scales)} | |"
    yield ""


def _events(figures: Figures) -> Iterator[str]:
    yield "## Events\n"
    yield "One observer hears Dobby's Started and Stopped, and ours. Late: ours after Dobby's.\n"
    yield "| storm | starts and stops | it took, s | the latest came late by, ms | events | RSS MiB before, after |"
    yield "|---|---|---|---|---|---|"
    for name, storm in figures.storms.items():
        memory = f"{storm.before:.1f}, {storm.after:.1f}"
        yield f"| {name} | {storm.pairs} | {storm.took:.3f} | {storm.latest * 1e3:.1f} | {storm.events} | {memory} |"
    direct, through = figures.starts.direct, figures.starts.through
    yield f"\nA start that takes Dobby no time: {direct:.0f} µs directly, {through:.0f} µs through ocibridge (median).\n"


def _life(figures: Figures) -> Iterator[str]:
    birth, idle = figures.birth, figures.idle
    yield "## A life\n"
    yield f"Start to READY: {birth.ready * 1e3:.0f} ms ({birth.ready / birth.python:.1f} × a Python that does nothing). Idle with"
    yield f"100 containers: {idle.cpu * 1e3:.1f} ms of CPU and {idle.wakeups} wake-ups in {idle.seconds:.0f} s.\n"
    yield "| calls of all kinds that read | RSS MiB | open files |"
    yield "|---|---|---|"
    for age in figures.ages:
        yield f"| {age.calls} | {age.memory:.2f} | {age.descriptors} |"
