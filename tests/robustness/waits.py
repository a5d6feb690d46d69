# SPDX-License-Identifier: Apache-2.0
"""How long an honest caller waits beside each flood, and what memory the flood costs the daemon.

By hand, with ocibridge running: python -m tests.robustness.waits ADDRESS [SECONDS [UID [KIND...]]]
prints one line of JSON per flood. UID: the user who floods (default 65534, nobody); needs root.

The figure is compared with the *floor*: the waits of the same caller while the same kind of flood
goes to a name that only reads and discards it. So a slow or busy machine does not decide the
outcome, and no wall time is a criterion by itself.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.fake_dobby.processes import memory_kib
from tests.robustness.flood import CALLS, UNREAD
from tests.robustness.wire import OURS, Wire

NOBODY: Final = 65534
SINK: Final = "org.example.Sink"
TICK: Final = 0.01  # seconds between two honest calls
MAX_TRIES: Final = 3  # of one kind of flood
SETTLED: Final = 180.0  # seconds after a flood within which the daemon must have recovered
# The criterion: p99 below this, or below so many times the floor's.
TARGET_MS: Final = 100.0
FACTOR: Final = 5.0
MIN_CALLS: Final = 20
MIN_FLOOD: Final = 1000
GROWTH_KIB: Final = 32 << 10
KINDS: Final = (*CALLS, *(f"{kind}{UNREAD}" for kind in CALLS))
Figures = dict[str, Any]


class Honest:
    """Calls in turn, at least TICK apart. Records how long each took and how it ended."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._wire = Wire(address)
        self._next = 0.0
        self.waits_ms: list[float] = []
        self.outcomes: Counter[str] = Counter()

    def close(self) -> None:
        """Disconnect."""
        self._wire.__exit__(None, None, None)

    def call(self) -> bool:
        """Make and record one call. Returns whether it was answered."""
        time.sleep(max(0.0, self._next - time.monotonic()))
        begin = time.monotonic()
        self._next = begin + TICK
        try:
            outcome = self._wire.outcome("getContainerState", "s", ("c0",))
        except (
            OSError,
            EOFError,
            # no reply within wire.BOUND: the recorded time is too short, but long enough to fail
        ) as failure:
            outcome = type(failure).__name__
            self.close()
            self._wire = Wire(self._address)
        self.waits_ms.append((time.monotonic() - begin) * 1e3)
        self.outcomes[outcome] += 1
        return outcome == "reply"

    def quantiles_ms(self) -> tuple[float, float, float]:
        """p50, p99 and the maximum, over all moments at which a caller might have called.

        A long wait counts once per TICK that it lasted. A caller who waits does not call again
        meanwhile, so one wait of a minute would otherwise be one sample among hundreds of good
        ones.
        """
        tick = TICK * 1e3
        waits = sorted(
            wait - n * tick for wait in self.waits_ms for n in range(max(1, int(wait / tick)))
        )
        return waits[len(waits) // 2], waits[int(len(waits) * 0.99)], waits[-1]


@contextmanager
def flooding(
    address: str, kind: str, seconds: float, to: str, uid: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs a flood by that user, in a process of its own. Entered once the flood has begun."""
    other: dict[str, Any] = (
        {"user": uid, "group": uid, "extra_groups": []} if uid != os.geteuid() else {}
    )
    arguments = [sys.executable, "-m", "tests.robustness.flood", address, kind, str(seconds), to]
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {
        "PYTHONPATH": f"{root}:{os.environ.get('PYTHONPATH', '')}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, bufsize=0, cwd="/", env=environment, **other
    ) as child:
        try:
            assert child.stdout is not None
            assert select.select([child.stdout], [], [], 30)[0], "the flood does not begin"
            assert child.stdout.readline() == b"flooding\n"
            yield child
        finally:
            child.kill()


def waits_beside(
    address: str, kind: str, seconds: float, *, to: str = OURS, uid: int = NOBODY
) -> Figures:
    """The figures of one flood.

    Returns once the daemon serves again as before. Raises AssertionError if it does not.
    """
    honest = Honest(address)
    with Wire(address) as wire:
        pid = wire.ask_bus("GetConnectionUnixProcessID", "s", OURS)
        before = memory_kib(pid, "VmRSS")
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets VmHWM: proc(5)
        with flooding(address, kind, seconds, to, uid) as child:
            while child.poll() is None:
                honest.call()
            assert child.stdout is not None
            sent = json.loads(child.stdout.readline())
        # The backlog of the flood delays the next call as well, and counts.
        calls, begin = len(honest.waits_ms), time.monotonic()
        while not honest.call() and time.monotonic() < begin + SETTLED:
            pass
        p50, p99, longest = honest.quantiles_ms()
        figures = {"kind": kind, "to": to, "calls": calls, "outcomes": dict(honest.outcomes)}
        figures |= {"p50_ms": round(p50, 1), "p99_ms": round(p99, 1), "max_ms": round(longest, 1)}
        figures |= {
            "flood_per_s": round(sent["messages"] / seconds),
            "messages": sent["messages"],
            "connections": sent["connections"],
        }
        honest.close()
        figures |= {"rss_before_kib": before, "rss_peak_kib": memory_kib(pid, "VmHWM")}
        figures["restarted"] = wire.ask_bus("GetConnectionUnixProcessID", "s", OURS) != pid
    return figures


def complaints(figures: Figures, floor: Figures) -> list[str]:
    """Which criteria these figures miss."""
    limit = max(TARGET_MS, FACTOR * floor["p99_ms"])
    found = {
        f"p99 {figures['p99_ms']} ms (max {figures['max_ms']}), the floor's is "
        f"{floor['p99_ms']}": figures["p99_ms"] > limit,
        f"{figures['calls']} honest calls, beside the floor {floor['calls']}": figures["calls"]
        < min(MIN_CALLS, floor["calls"] / FACTOR),
        f"honest calls ended so: {figures['outcomes']}": set(figures["outcomes"]) != {"reply"},
        f"memory {figures['rss_before_kib']} → {figures['rss_peak_kib']} KiB": figures[
            "rss_peak_kib"
        ]
        > figures["rss_before_kib"] + GROWTH_KIB,
        "it was restarted": figures["restarted"],
        f"only {figures['messages']} messages: no flood": figures["messages"] < MIN_FLOOD,
    }
    return [f"{figures['kind']}: {what}" for what, wrong in found.items() if wrong]


def judged(address: str, kind: str, seconds: float, floor: Figures, uid: int = NOBODY) -> Figures:
    """The figures of one flood, with `complaints`.

    If there are any, the flood is tried again, beside a floor of its own: on a small, busy machine
    one try proves little.
    """
    first = figures = waits_beside(address, kind, seconds, uid=uid)
    found = complaints(figures, floor)
    for _ in range(MAX_TRIES - 1):
        if not found:
            break
        floor = waits_beside(address, kind, seconds, to=SINK, uid=uid)
        figures = waits_beside(address, kind, seconds, uid=uid) | {"first_try": first}
        found = complaints(figures, floor)
    return figures | {"floor_p99_ms": floor["p99_ms"], "complaints": found}


@contextmanager
def sink(address: str) -> Iterator[None]:
    """Runs SINK on that bus, in a process of its own."""
    arguments = [sys.executable, "-m", "tests.robustness.waits", "sink", address]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, bufsize=0) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"owned\n"
            yield
        finally:
            child.kill()


def be_sink(address: str) -> None:
    """Own SINK, and discard all that arrives."""
    with Wire(address) as wire:
        assert wire.ask_bus("RequestName", "su", SINK, 4) == 1
        print("owned", flush=True)
        wire.socket.settimeout(None)
        buffer = bytearray(1 << 18)
        while wire.socket.recv_into(buffer):
            pass


def measure(address: str, seconds: float, uid: int, kinds: tuple[str, ...]) -> Iterator[Figures]:
    """Measure these floods in turn, and their floors first."""
    with sink(address):
        floors = {}
        for suffix in ("", UNREAD):
            if any(kind.endswith(UNREAD) == bool(suffix) for kind in kinds):
                floors[suffix] = waits_beside(address, f"GetAll{suffix}", seconds, to=SINK, uid=uid)
                yield floors[suffix] | {"kind": f"floor{suffix}", "complaints": []}
        for kind in kinds:
            yield judged(
                address, kind, seconds, floors[UNREAD if kind.endswith(UNREAD) else ""], uid
            )


def table(rows: list[Figures]) -> str:
    """A table for people."""
    lines = [
        (
            "flood                       p50 ms    p99 ms    max ms   floor p99     calls"
            "   flood/s  conns  RSS MiB  first try: p99, max"
        )
    ]
    for row in rows:
        first = row.get("first_try")
        lines.append(
            f"{row['kind']:<24}{row['p50_ms']:>10}{row['p99_ms']:>10}{row['max_ms']:>10}"
            f"{row.get('floor_p99_ms', ''):>12}{row['calls']:>10}"
            f"{row['flood_per_s']:>10}{row['connections']:>7}{row['rss_peak_kib'] / 1024:>9.1f}"
            + (f"  {first['p99_ms']}, {first['max_ms']}" if first else "")
        )
    return "\n".join(lines)


def main(address: str, seconds: str = "1.5", uid: str = str(NOBODY), *kinds: str) -> None:
    """Measure, and print one line of JSON per flood."""
    for figures in measure(address, float(seconds), int(uid), kinds or KINDS):
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "sink":
        be_sink(sys.argv[2])
    else:
        main(*sys.argv[1:])
