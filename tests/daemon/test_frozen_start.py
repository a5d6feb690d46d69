# SPDX-License-Identifier: Apache-2.0
"""A bus that stops answering during the start does not keep the daemon from ending."""

import os
import signal
from pathlib import Path

import pytest

from tests.fake_dobby.processes import ocibridge
from tests.robustness.cutter import Freezer

BOUND = 15
# The start sends some 2,100 bytes: authentication, Hello, match rules, RequestName. The points hit
# every message.
POINTS = [0, 20, 60, 120, *range(200, 2000, 120)]


@pytest.mark.parametrize("sent", POINTS)
def test_a_signal_while_the_bus_is_silent(address: str, tmp_path: Path, sent: int) -> None:
    number = (signal.SIGTERM, signal.SIGINT)[POINTS.index(sent) % 2]
    environment = {"RUNTIME_DIRECTORY": str(tmp_path)}
    # The start's own timeout is longer than this test waits.
    with (
        (tmp_path / "log").open("wb") as log,
        Freezer(address, tmp_path, sent) as bus,
        ocibridge(bus.address, environment=environment, stderr=log) as bridge,
    ):
        assert bus.frozen.wait(BOUND)
        bridge.child.send_signal(number)
        assert bridge.child.wait(BOUND) == os.EX_OK
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    assert "never retrieved" not in said
