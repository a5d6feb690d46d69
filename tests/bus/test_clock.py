# SPDX-License-Identifier: Apache-2.0
"""The system clock is set while ocibridge runs (docs/design.md, Exit records).

Only wall-clock times change. Timeouts and waits do not.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client

YEAR = 365 * 86400


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the wall clock off by some seconds. CLOCK_MONOTONIC is not affected."""
    now, now_ns = time.time, time.time_ns

    def jump(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: now() + seconds)
        monkeypatch.setattr(time, "time_ns", lambda: now_ns() + round(seconds * 1e9))

    return jump


@pytest.mark.parametrize("seconds", [YEAR, -YEAR, -1e9])
async def test_the_clock_is_set(
    oci: Client, tmp_path: Path, set_clock: Callable[[float], None], seconds: float
) -> None:
    bundle = make_bundle(tmp_path, "sleep")
    began = time.time_ns() // 1000
    await oci.start("app", bundle)
    wait = asyncio.create_task(oci.oci("waitForState", "sst", "app", "Stopped", 10_000_000))
    short = asyncio.create_task(oci.refused("waitForState", "sst", "app", "Paused", 300_000))
    await asyncio.sleep(0)
    assert (await oci.oci("getContainerState", "s", "app")) == ("app", "Running")
    set_clock(seconds)
    await oci.oci("pauseContainer", "s", "app") if seconds > 0 else await oci.oci("listContainers")
    assert not wait.done()
    if seconds < 0:
        assert (await short)[0] == "Timeout"
    else:
        await asyncio.gather(short, return_exceptions=True)
    await oci.oci("stopContainer", "sb", "app", True)
    assert await wait == "Stopped"
    record = {
        name: value for name, (_, value) in (await oci.oci("getLastExit", "s", "app")).items()
    }
    assert began <= record["StartedAt"] < began + 10e6
    assert abs(record["StoppedAt"] - record["StartedAt"] - seconds * 1e6) < 20e6
    assert record["StoppedAt"] >= 0
    assert await oci.start("app", bundle)  # ocibridge still works
