# SPDX-License-Identifier: Apache-2.0
"""What the rules of the key `access` cost: a judgement, and a flood of calls without right."""

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.programs import Target, backend, compiled, load, memory_directory
from ocibridge.access.rules import DEFAULT_RULES, Rule
from ocibridge.api.access_control import AccessControl
from ocibridge.api.call import Call
from ocibridge.api.methods import MethodSpec
from ocibridge.config.schema import Config, Settings
from ocibridge.model import Caller, Identity
from tests.fake_dobby.processes import ocibridge, private_bus, until_owned

CONTAINERS: Final = 20
JUDGEMENTS: Final = 20_000
OUTSIDER: Final = "games"  # a user that every Debian has
READ: Final = Target(
    "org.rdk.OCIContainer", "/org/rdk/OCIContainer", "org.rdk.OCIContainer1",
    "getContainerState", "s",
)  # fmt: skip
CHANGE: Final = Target(READ.name, READ.path, READ.interface, "pauseContainer", "s")


@dataclass(frozen=True)
class Honest:
    """An honest caller's reads, in µs, beside so many calls a second of another user."""

    p50: float
    p99: float
    flood: float


@dataclass(frozen=True)
class Access:
    """`judgements`: µs of each kind. `honest`: by what another user does meanwhile."""

    judgements: dict[str, float]
    honest: dict[str, Honest]


def measure(seconds: float) -> Access | None:
    """Measure all of it. None without root, who alone can act as another user."""
    if os.getuid() != 0:
        return None
    return Access(asyncio.run(_judgements()), _floods(seconds))


def _floods(seconds: float) -> dict[str, Honest]:
    with memory_directory() as directory, private_bus() as address:
        Path(directory).chmod(0o755)
        program = shutil.copy(compiled("load"), directory)
        with (
            backend(address, CONTAINERS),
            ocibridge(
                address, environment={"RUNTIME_DIRECTORY": directory}, stderr=subprocess.DEVNULL
            ),
        ):
            until_owned(address, READ.name)
            alone = load(address, READ, 1, seconds, CONTAINERS)
            return {
                "nothing": Honest(alone.p50, alone.p99, 0),
                "the same reads": _beside(READ, address, program, seconds),
                "calls that are refused": _beside(CHANGE, address, program, seconds),
            }


def _beside(target: Target, address: str, program: str, seconds: float) -> Honest:
    """Beside another user's calls of that method, 2 in flight, as fast as they are answered."""
    user = pwd.getpwnam(OUTSIDER)
    flood = subprocess.Popen(
        [program, target.name, target.path, target.interface, target.member, target.argument, "2",
         str(seconds * 3), str(CONTAINERS)],
        env={"DBUS_SESSION_BUS_ADDRESS": address}, user=user.pw_uid, group=user.pw_gid,
        extra_groups=[], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    honest = load(address, READ, 1, seconds, CONTAINERS)
    calls, failures, took, _, _ = flood.communicate()[0].split()
    if failures != (calls if target is CHANGE else "0"):
        sys.exit(f"{failures} of {calls} calls of {target.member} without right were refused")
    return Honest(honest.p50, honest.p99, int(calls) / float(took))


async def _judgements() -> dict[str, float]:
    """The time of a judgement, in µs: the least of five averages."""
    member = Identity(1000, "member", ((1000, "member"), (900, "ocibridge")))
    launcher = Identity(1001, "launcher", ((1001, "launcher"), (901, "ocibridge-callers")))
    rule = Rule(methods=("control",), user="launcher", containers=("com.example.*",))
    kinds: dict[str, tuple[tuple[Rule, ...], int, Identity | None]] = {
        "root": (DEFAULT_RULES, 0, None),
        "a member of the group, by the default rule": (DEFAULT_RULES, 1000, member),
        "a launcher, by the second rule": ((*DEFAULT_RULES, rule), 1001, launcher),
        "a launcher, by the last of 16 rules": ((*DEFAULT_RULES * 15, rule), 1001, launcher),
    }
    return {name: await _judgement(*kind) for name, kind in kinds.items()}


async def _judgement(rules: tuple[Rule, ...], uid: int, who: Identity | None) -> float:
    nothing: Any = None
    mirror: Any = _Mirror()
    access = AccessControl(nothing, mirror, Settings(Config(access=rules)), is_system_bus=True)
    spec = MethodSpec(
        "pauseContainer", nothing, {"containerId": "s"}, mutating=True, judged_as="pauseContainer"
    )
    call = Call(spec, ":1.1", caller=Caller(":1.1", uid, identity=who))
    call.arguments = ("com.example.a",)
    averages = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(JUDGEMENTS):
            access.outsider(call)
            await access.identify(call)
            await access.check(call)
        averages.append((time.perf_counter() - began) / JUDGEMENTS * 1e6)
    return min(averages)


class _Mirror:
    """Knows no container."""

    def find(self, _: str) -> None:
        return None
