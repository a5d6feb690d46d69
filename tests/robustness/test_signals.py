# SPDX-License-Identifier: Apache-2.0
"""POSIX signals in storms, and before the program handles them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_dobby.processes import Process, ocibridge, private_bus, until_owned
from tests.robustness.conftest import Victim

BOUND = 20
WHILE_IT_STARTS = """
import os, signal, sys
from ocibridge import __main__ as entry
from ocibridge import cli
run = cli.main
def main():
    os.kill(os.getpid(), signal.SIGHUP)
    return run()
cli.main = main
sys.exit(entry.main())
"""
# The entry point of the program, with another `cli.main` behind it.
AT_THE_START = """
import os, signal, sys
from ocibridge import __main__ as entry
from ocibridge import cli
def main():
    for _ in range(100):
        os.kill(os.getpid(), signal.{name})
    return 7
cli.main = main
sys.exit(entry.main())
"""


def runtime(directory: Path) -> dict[str, str]:
    return {"RUNTIME_DIRECTORY": str(directory)}


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE"])
def test_before_there_is_a_loop(name: str) -> None:
    """Neither a reload nor an unused signal may end the program during its start."""
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_START.format(name=name)], check=False, timeout=BOUND
    )
    assert done.returncode == 7


def test_a_reload_that_comes_too_early_is_done_later(tmp_path: Path) -> None:
    """Nothing is lost. Changes made during the start are read."""
    log = tmp_path / "log"
    with private_bus() as address, log.open("wb") as file:
        arguments = [sys.executable, "-c", WHILE_IT_STARTS, "--bus", address]
        with Process(arguments, runtime(tmp_path), stderr=file) as bridge:
            until_owned(address)
            assert bridge.end() == 0
    assert log.read_text().count("the configuration has been reloaded") == 1


def test_storms(victim: Victim) -> None:
    """2,000 of each, between honest calls, all of which are answered."""
    with victim.caller() as honest:
        for _ in range(200):
            for number in (
                signal.SIGHUP,
                signal.SIGUSR1,
                signal.SIGUSR2,
                signal.SIGPIPE,
                signal.SIGCHLD,
            ):
                for _ in range(10):
                    victim.process.child.send_signal(number)
            assert honest.is_served()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_storm_of_ends(tmp_path: Path, number: int) -> None:
    """It ends once, and logs that once."""
    log = tmp_path / "log"
    with (
        private_bus() as address,
        log.open("wb") as file,
        ocibridge(address, environment={"RUNTIME_DIRECTORY": str(tmp_path)}, stderr=file) as bridge,
    ):
        until_owned(address)
        for _ in range(1_000):
            bridge.child.send_signal(number)
            bridge.child.send_signal(signal.SIGHUP)
        bridge.child.wait(BOUND)
    assert bridge.child.returncode == 0
    assert log.read_text().count("stopping") == 1
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("milliseconds", range(0, 200, 10))
def test_a_signal_to_end_during_the_start(tmp_path: Path, milliseconds: int) -> None:
    """At any moment, it ends by the signal or in order, and never with a traceback."""
    log = tmp_path / "log"
    with (
        private_bus() as address,
        log.open("wb") as file,
        ocibridge(address, environment={"RUNTIME_DIRECTORY": str(tmp_path)}, stderr=file) as bridge,
    ):
        try:
            code = bridge.child.wait(milliseconds / 1e3)
        except subprocess.TimeoutExpired:
            bridge.child.terminate()
            code = bridge.child.wait(BOUND)
    assert code in {0, -signal.SIGTERM}
    assert "Traceback" not in log.read_text()
