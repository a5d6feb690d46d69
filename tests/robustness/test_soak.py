# SPDX-License-Identifier: Apache-2.0
"""A soak test: honest callers and attackers at once, with a Dobby that dies at random.

`make soak` runs it for long, and it writes its figures to build/soak.json.
"""

import asyncio
import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import pytest
from dbus_fast import Variant

from ocibridge.bus.connection import Bus
from tests.fake_dobby.client import Client
from tests.fake_dobby.load import FAIR, QUICK, check_truth, end, load, make_bundles
from tests.fake_dobby.observer import Observer
from tests.fake_dobby.processes import ROOT, Process, fake_dobby
from tests.robustness.conftest import Attack, Victim
from tests.robustness.test_abuse import forged
from tests.robustness.wire import INTERFACE, Wire

SECONDS: Final = float(os.environ.get("OCIBRIDGE_SOAK_SECONDS", "15"))
CALLERS: Final = 4
GROWTH_KIB: Final = 8 << 10  # of a process that has been through each kind of load once
PROPERTIES: Final = "org.freedesktop.DBus.Properties"


def abuse(address: str, over: Event, done: Counter[str]) -> None:
    """Attack in random ways, one caller after another."""
    ways = [shouts, vanishes, forges, writes, sends_large_texts, waits_and_leaves]
    chance = random.Random()  # noqa: S311 - a load, not a secret
    while not over.is_set():
        way = chance.choice(ways)
        with Wire(address) as caller:
            way(caller)
        done[way.__name__] += 1
        over.wait(0.02)  # leave CPU time for the honest callers


def shouts(caller: Wire) -> None:
    """200 calls at once, of which limits.per_caller are accepted."""
    serials = [caller.call("getContainerState", "s", ("a",)) for _ in range(200)]
    assert caller.reply(serials[-1])


def vanishes(caller: Wire) -> None:
    """Disconnect with mutating calls in flight."""
    caller.call("pauseContainer", "s", ("a",))
    caller.call("stopContainer", "sb", ("no-such", True))


def forges(caller: Wire) -> None:
    """Signals of ends that did not happen."""
    for number in range(734, 760):
        forged(caller, "Stopped", "is", [number, "a"])


def writes(caller: Wire) -> None:
    """Writes to a read-only property, and arguments of the wrong type."""
    assert (
        caller.outcome(
            "Set", "ssv", (INTERFACE, "DobbyAvailable", Variant("b", False)), interface=PROPERTIES
        )
        != "reply"
    )
    assert caller.outcome("stopContainer", "si", ("a", 1)) != "reply"


def sends_large_texts(caller: Wire) -> None:
    """2 MiB."""
    assert caller.outcome("getContainerInfo", "s", ("x" * (2 << 20),)) != "reply"


def waits_and_leaves(caller: Wire) -> None:
    """As many waits as one caller may have."""
    for _ in range(64):
        caller.call("waitForState", "sst", ("never", "Running", 0))
    assert caller.outcome("Ping", interface="org.freedesktop.DBus.Peer") == "reply"


async def die(dobby: Process, chance: random.Random) -> None:
    """Kill or end it. Sometimes it hangs first."""
    if chance.random() < 0.1:
        with dobby.frozen():
            await asyncio.sleep(chance.uniform(0.0, min(7.0, SECONDS / 5)))
    if chance.random() < 0.7:
        dobby.kill()
    else:
        dobby.end()


def sample(victim: Victim, deaths: int) -> dict[str, Any]:
    return {
        "at": time.monotonic(),
        "deaths": deaths,
        "memory_kib": victim.memory_kib,
        "files": victim.files,
    }


@pytest.mark.timeout(120 + 2 * SECONDS)
async def test_a_long_run(attack: Attack, tmp_path: Path) -> None:
    """A listener has seen each container once, in order.

    At the end, memory and open files are those of the beginning.
    """
    victim = attack(dobby=False, sweep_interval="100ms")
    bundles, observer, chance = make_bundles(tmp_path), Observer(), random.Random()  # noqa: S311 - a load, not a secret
    said: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    abused: Counter[str] = Counter()
    client = Client(await Bus.open(victim.address))
    client.listeners += [
        observer.heard,
        lambda _path, _interface, member, _body: said.update([member]),
    ]
    await client.listen()
    callers = [Client(await Bus.open(victim.address)) for _ in range(CALLERS)]
    loads = [asyncio.create_task(load(caller, bundles, chance, outcomes)) for caller in callers]
    over, samples, deaths, finish = Event(), [sample(victim, 0)], 0, time.monotonic() + SECONDS
    attacker = Thread(target=abuse, args=(victim.address, over, abused))
    attacker.start()
    try:
        while time.monotonic() < finish:
            with fake_dobby(victim.address, tmp_path, durations=QUICK) as dobby:
                await client.until(lambda: observer.properties["DobbyAvailable"])
                await asyncio.sleep(chance.uniform(0.0, 2.0))  # at a random moment
                await die(dobby, chance)
                await client.until(
                    lambda: observer.properties["DobbyStatus"] == "absent" and not observer.objects
                )
            deaths += 1
            client.signals.clear()
            assert (observer.complaints, observer.objects) == ([], {})
            # Each Started of Dobby was announced once, and each container has had its end.
            assert (
                said["Started"]
                == said["onContainerStarted"]
                == said["onContainerStopped"]
                == observer.ended
            )
            samples.append(sample(victim, deaths))
        with fake_dobby(victim.address, tmp_path, durations=QUICK):
            await client.until(lambda: observer.properties["DobbyAvailable"])
            await end(loads)
            over.set()
            await asyncio.to_thread(attacker.join)
            await check_truth(client, observer)
    finally:
        over.set()
    await client.until(
        lambda: observer.properties["DobbyStatus"] == "absent" and not observer.objects
    )
    samples.append(sample(victim, deaths))
    for each in (client, *callers):
        each.bus.close()
    figures = {
        "seconds": SECONDS,
        "deaths": deaths,
        "ended": observer.ended,
        "outcomes": outcomes,
        "abused": abused,
        "samples": samples,
    }
    report = ROOT / "build" / "soak.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps(figures, indent=1))
    assert outcomes.keys() <= FAIR | {"reply"}
    assert min(outcomes["reply"], observer.ended, *abused.values()) > 0
    assert victim.files <= samples[0]["files"]
    warm = samples[len(samples) // 4]["memory_kib"]
    assert victim.memory_kib < warm + GROWTH_KIB
