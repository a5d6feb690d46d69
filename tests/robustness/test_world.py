# SPDX-License-Identifier: Apache-2.0
"""The system around fails: the bus, the disk, descriptors, memory, time."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.processes import fake_dobby, ocibridge, private_bus, until_owned
from tests.robustness.conftest import Attack
from tests.robustness.cutter import Cutter
from tests.robustness.wire import INTERFACE, Wire

BOUND = 20
STANDARD = "org.freedesktop.DBus.Error."
# From the first byte of the authentication, through the start, to calls in flight.
CUTS = [*range(0, 400, 50), *range(400, 4000, 300), *range(4000, 40000, 6000)]


@pytest.mark.parametrize("sent", CUTS)
def test_the_bus_lost_at_any_point(tmp_path: Path, sent: int) -> None:
    """It exits with the code that makes systemd restart it, and logs the reason once.

    There is never a traceback.
    """
    log = tmp_path / "log"
    bundle = str(make_bundle(tmp_path, "sleep"))
    with private_bus("system") as address, fake_dobby(address, tmp_path), log.open("wb") as file:
        until_owned(address, "org.rdk.dobby")
        options: dict[str, Any] = {
            "environment": {"RUNTIME_DIRECTORY": str(tmp_path)},
            "stderr": file,
        }
        with (
            Wire(address) as caller,
            Cutter(address, tmp_path, sent) as cutter,
            ocibridge(cutter.address, **options) as bridge,
        ):
            number = 0
            while bridge.child.poll() is None:  # each reply brings the cut nearer
                number += 1
                caller.outcome("startContainer", "ssssas", (f"a{number}", bundle, "", "", []))
                caller.call("stopContainer", "sb", (f"a{number}", True))
                caller.outcome("listContainers")
            assert bridge.child.returncode == os.EX_UNAVAILABLE
    said = log.read_text()
    for word in ("Traceback", "unforeseen", "never retrieved", "give up"):
        assert word not in said
    reasons = (
        "cannot open bus",
        "before ocibridge was ready",
        "does not give us the name",
        "closed the connection",
    )
    assert sum(said.count(text) for text in reasons) == 1, said


def test_a_full_disk(attack: Attack, tmp_path: Path) -> None:
    """Provenance cannot be stored. That is logged once, and nothing else is affected."""
    victim = attack()
    bundle = str(make_bundle(tmp_path, "sleep"))
    with victim.caller() as caller:
        assert caller.outcome("startContainer", "ssssas", ("first", bundle, "", "", [])) == "reply"
        (kept,) = tmp_path.glob("org.rdk.OCIContainer-*.json")
        kept.with_suffix(".new").symlink_to("/dev/full")
        for number in range(20):
            assert (
                caller.outcome("startContainer", "ssssas", (f"a{number}", bundle, "", "", []))
                == "reply"
            )
            assert caller.outcome("stopContainer", "sb", (f"a{number}", True)) == "reply"
    assert victim.log.read_text().count("cannot be saved") == 1
    assert victim.log.read_text().count("No space left on device") == 1


@pytest.mark.parametrize("free", [0, 1, 8])
def test_few_descriptors(tmp_path: Path, free: int) -> None:
    """Too few to read a bundle.

    The start is refused, since the bundle might crash Dobby. Everything else works.
    """
    log = tmp_path / "log"
    plain = str(make_bundle(tmp_path, "plain", plugins=False))
    with private_bus("system") as address, fake_dobby(address, tmp_path), log.open("wb") as file:
        until_owned(address, "org.rdk.dobby")
        options: dict[str, Any] = {
            "environment": {"RUNTIME_DIRECTORY": str(tmp_path)},
            "stderr": file,
        }
        with ocibridge(address, **options) as bridge, Wire(address) as caller:
            until_owned(address)
            taken = len(list(Path(f"/proc/{bridge.child.pid}/fd").iterdir()))
            subprocess.run(
                ["prlimit", f"--pid={bridge.child.pid}", f"--nofile={taken + free}"], check=True
            )
            outcomes = {
                caller.outcome("startContainer", "ssssas", (f"a{n}", plain, "", "", []))
                for n in range(20)
            }
            assert outcomes <= {"reply", f"{STANDARD}LimitsExceeded"}
            assert free == 1 or ("reply" in outcomes) == (
                free > 1
            )  # 1 is enough for a folder or a file, but not always for both
            infos = {
                caller.outcome("getContainerInfo", "s", (f"a{number}",)) for number in range(20)
            }
            assert infos <= {f"{STANDARD}NotSupported", f"{INTERFACE}.Error.NoSuchContainer"}
            assert caller.is_served()
            assert bridge.end() == 0
    assert "Traceback" not in log.read_text()


def test_frozen_for_longer_than_dobby_may_be_silent(attack: Attack, tmp_path: Path) -> None:
    """As after a suspend, or in a frozen cgroup.

    Pending replies are read before Dobby is declared stalled.
    """
    victim = attack(sweep_interval="50ms")
    slow = str(make_bundle(tmp_path, "slow-start", start="1500"))
    with victim.caller() as caller:
        serial = caller.call("startContainer", "ssssas", ("slow", slow, "", "", []))
        with victim.process.frozen():
            time.sleep(6)  # as long as it takes to declare Dobby stalled
        assert caller.reply(serial).signature == "i"
        assert caller.outcome("stopContainer", "sb", ("slow", True)) == "reply"
    assert "stopped answering" not in victim.log.read_text()


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """The stored provenance is never half-written.

    Of 10 kills in the middle of starts, none makes a later call kill Dobby.
    """
    chance = random.Random()  # noqa: S311 - a load, not a secret
    environment = {"RUNTIME_DIRECTORY": str(tmp_path)}
    bundles = [
        str(make_bundle(tmp_path, "sleep")),
        str(make_bundle(tmp_path, "plain", plugins=False)),
    ]
    log = tmp_path / "log"
    with (
        private_bus("system") as address,
        fake_dobby(address, tmp_path) as dobby,
        Wire(address) as caller,
        log.open("wb") as file,
    ):
        until_owned(address, "org.rdk.dobby")
        for owner in range(10):
            with ocibridge(address, environment=environment, stderr=file) as bridge:
                until_owned(address)
                for number in range(chance.randrange(1, 6)):
                    caller.outcome(
                        "startContainer",
                        "ssssas",
                        (f"a{owner}.{number}", chance.choice(bundles), "", "", []),
                    )
                    caller.call("getContainerInfo", "s", (f"a{owner}.{number}",))
                caller.call(
                    "startContainer", "ssssas", (f"b{owner}", chance.choice(bundles), "", "", [])
                )
                time.sleep(chance.uniform(0, 0.02))
                bridge.child.send_signal(signal.SIGKILL)
                bridge.child.wait(BOUND)
        with ocibridge(address, environment=environment, stderr=file):
            until_owned(address)
            containers = caller.reply(caller.call("listContainers")).body[0]
            assert len(containers) >= 10
            for _, container_id in containers:
                caller.outcome("getContainerInfo", "s", (container_id,))
            assert dobby.child.poll() is None
            assert caller.is_served()
    assert "is lost" not in log.read_text()
