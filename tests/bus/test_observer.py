# SPDX-License-Identifier: Apache-2.0
"""Dobby is killed and restarted many times under load.

A client that only listens ends up with the true state (docs/design.md, The order of events).
"""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from ocibridge.bridge import exit_tracker
from ocibridge.bus.connection import Bus
from ocibridge.config.schema import Duration
from tests.bus.conftest import StartBridge, StartDobby
from tests.fake_dobby.client import Client
from tests.fake_dobby.load import FAIR, QUICK, check_truth, end, load, make_bundles
from tests.fake_dobby.observer import Observer

DEATHS = int(os.environ.get("OCIBRIDGE_DEATHS", "100"))


@pytest.mark.timeout(120 + 3 * DEATHS)
async def test_an_observer_of_many_deaths(
    client: Client,
    address: str,
    start_dobby: StartDobby,
    start_bridge: StartBridge,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exit_tracker, "GRACE_SECONDS", 0.1)
    bundles = make_bundles(tmp_path)
    observer = Observer()
    said: Counter[str] = Counter()
    client.listeners += [
        observer.heard,
        lambda _path, _interface, member, _body: said.update([member]),
    ]
    await client.listen()
    await start_bridge(sweep_interval=Duration(0.05))

    chance = random.Random()  # noqa: S311 - a load, not a secret
    outcomes: Counter[str] = Counter()
    callers = [Client(await Bus.open(address)) for _ in range(4)]
    loads = [asyncio.create_task(load(caller, bundles, chance, outcomes)) for caller in callers]
    for _ in range(DEATHS):
        dobby = start_dobby(durations=QUICK)
        await client.until(lambda: observer.properties["DobbyAvailable"])
        ended = observer.ended
        async with asyncio.timeout(15):
            while observer.ended < ended + 3:  # load is running again
                client.signals.clear()
                await client.until_heard(1, "InterfacesRemoved")
        dobby.kill()
        await client.until(
            lambda: observer.properties["DobbyStatus"] == "absent" and not observer.objects
        )
        assert (observer.complaints, observer.objects) == ([], {})
        # Each Started of Dobby was announced once, and each container has had its end.
        assert (
            said["Started"]
            == said["onContainerStarted"]
            == said["onContainerStopped"]
            == observer.ended
        )

    start_dobby(durations=QUICK)
    await client.until(lambda: observer.properties["DobbyAvailable"])
    await end(loads)
    await check_truth(client, observer)
    assert outcomes.keys() <= FAIR | {"reply"}
    assert observer.ended >= 3 * DEATHS
    for caller in callers:
        caller.bus.close()
