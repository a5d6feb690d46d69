# SPDX-License-Identifier: Apache-2.0
"""ocibridge as a process, with a fake Dobby, on a bus that allows everything."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fake_dobby.processes import (
    ROOT,
    Process,
    fake_dobby,
    memory_kib,
    ocibridge,
    open_files,
    private_bus,
    until_owned,
)
from tests.robustness.wire import INTERFACE, Wire


@dataclass(frozen=True)
class Victim:
    """The ocibridge under attack.

    `log`: its stderr. `honest`: how an honest call must end after the attack.
    """

    address: str
    process: Process
    log: Path
    honest: str

    @property
    def memory_kib(self) -> int:
        return memory_kib(self.process.child.pid)

    @property
    def peak_kib(self) -> int:
        """The peak so far."""
        return memory_kib(self.process.child.pid, "VmHWM")

    @property
    def files(self) -> int:
        return open_files(self.process.child.pid)

    def caller(self) -> Wire:
        return Wire(self.address)

    def check(self) -> None:
        """It still runs, serves an honest caller, and has logged no bug."""
        assert self.process.child.poll() is None
        with self.caller() as honest:
            assert honest.outcome("listContainers") == self.honest
        said = self.log.read_text()
        assert "unforeseen" not in said, said[-2000:]
        assert "Traceback" not in said, said[-2000:]


Attack = Callable[..., Victim]


def unit_environment() -> dict[str, str]:
    """The `Environment=` of the unit."""
    lines = (ROOT / "systemd" / "ocibridge.service").read_text().splitlines()
    return dict(
        line.removeprefix("Environment=").split("=", 1)
        for line in lines
        if line.startswith("Environment=")
    )


def start_by_others(victim: Victim, count: int) -> None:
    """Starts containers c0, c1, … at the fake Dobby, as another client of it would.

    Returns once ocibridge has them too.
    """
    with victim.caller() as caller:
        mock = {
            "destination": "org.rdk.dobby",
            "path": "/org/rdk/dobby",
            "interface": "org.freedesktop.DBus.Mock",
        }
        assert caller.outcome("StartsByOthers", "i", (count,), **mock) == "reply"
        while len(caller.reply(caller.call("listContainers")).body[0]) < count:
            pass


def until(holds: Callable[[], bool]) -> None:
    """Poll for 20 s at most. `holds` should call over the bus, which limits the rate."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "the condition did not become true"


@pytest.fixture
def attack(tmp_path: Path) -> Iterator[Attack]:
    """Starts victims on a bus with the limits of a system bus. They are checked after the test."""
    with ExitStack() as stack:
        victims = []

        def start(*, dobby: bool = True, **keys: Any) -> Victim:
            """`keys`: of the configuration."""
            address = stack.enter_context(private_bus("system"))
            if dobby:
                stack.enter_context(fake_dobby(address, tmp_path))
                until_owned(address, "org.rdk.dobby")
            log = tmp_path / "log"
            file = stack.enter_context(log.open("wb"))
            configuration = tmp_path / "ocibridge.yaml"
            configuration.write_text(json.dumps(keys))
            options, environment = (
                ("--config", str(configuration)),
                {"RUNTIME_DIRECTORY": str(tmp_path)} | unit_environment(),
            )
            process = stack.enter_context(
                ocibridge(address, *options, environment=environment, stderr=file)
            )
            until_owned(address)
            victims.append(
                Victim(
                    address,
                    process,
                    log,
                    honest="reply" if dobby else f"{INTERFACE}.Error.DobbyUnavailable",
                )
            )
            return victims[-1]

        yield start
        for victim in victims:
            victim.check()


@pytest.fixture
def victim(attack: Attack) -> Victim:
    """A victim with a fake Dobby."""
    return attack()
