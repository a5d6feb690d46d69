# SPDX-License-Identifier: Apache-2.0
"""The figures of the hops as a plot, compared with the C forwarder."""

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

from benchmarks.figures import Figures
from benchmarks.hops import DEPTHS, FLOOR, OURS
from benchmarks.ratios import Figure, ratio

mpl.use("Agg")
from matplotlib import pyplot as plt

PANELS: Final[dict[str, Figure]] = {
    "p50 latency × C forwarder\n(less is better)": lambda run: run.p50,
    "calls/s × C forwarder\n(more is better)": lambda run: run.rate,
    "CPU per call × C forwarder\n(less is better)": lambda run: run.cpu,
}
COLOURS: Final = {OURS: "#c2410c", FLOOR: "#111827"}
OTHERS: Final = ("#94a3b8", "#64748b", "#475569", "#cbd5e1", "#7dd3fc", "#38bdf8")


def draw(figures: Figures, path: Path) -> None:
    """Write the PNG."""
    figure, axes = plt.subplots(1, len(PANELS), figsize=(13, 4.6))
    for panel, (title, value) in zip(axes, PANELS.items(), strict=True):
        _panel(panel, figures, title, value)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=len(labels), frameon=False)
    figure.suptitle(
        "getContainerState through a bridge; bars: medians of many rounds, lines: quartiles"
    )
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(path, dpi=100)


def _panel(panel: Any, figures: Figures, title: str, value: Figure) -> None:
    subjects = list(dict.fromkeys(run.subject for run in figures.runs))
    width = 0.85 / len(subjects)
    others = iter(OTHERS)
    for number, subject in enumerate(subjects):
        spreads = [ratio(figures.runs, subject, FLOOR, depth, value) for depth in DEPTHS]
        medians = [spread.median for spread in spreads]
        quartiles = [[s.median - s.low for s in spreads], [s.high - s.median for s in spreads]]
        places = [place + number * width - 0.425 + width / 2 for place in range(len(DEPTHS))]
        colour = COLOURS.get(subject) or next(others)
        panel.bar(
            places,
            medians,
            width,
            yerr=quartiles,
            label=subject,
            color=colour,
            error_kw={"linewidth": 0.8},
        )
    panel.axhline(1, color="#111827", linewidth=0.6)
    panel.set_xticks(range(len(DEPTHS)), [f"{depth} in flight" for depth in DEPTHS])
    panel.set_title(title, fontsize=10)
    panel.spines[["top", "right"]].set_visible(False)
