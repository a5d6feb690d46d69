"""Dobby killed and started again and again under load: who only listens ends with exactly the truth (design 5, 6)."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocibridge import ends
from ocibridge.bus import Bus, ErrorReply
from ocibridge.config import Duration
from tests.bus.conftest import StartDobby
from tests.standin.bundles import make_bundle
from tests.standin.client import Client
from tests.standin.observer import Observer

DEATHS = int(os.environ.get("OCIBRIDGE_DEATHS", "100"))
IDS = ("a", "b", "c.d", "e-f")
# What a caller may be told when Dobby dies under it; anything else is a bug.
FAIR = {"DobbyUnavailable", "NoSuchContainer", "ContainerExists", "WrongState", "DobbyRefused", "Timeout"}


async def load(client: Client, bundles: list[Path], chance: random.Random, refusals: set[str]) -> None:
    """Calls of all kinds, one after another, for as long as it is let."""
    while True:
        container_id = chance.choice(IDS)
        call: tuple[Any, ...] = chance.choice(
            [
                ("startContainer", "ssssas", container_id, str(chance.choice(bundles)), "", "", []),
                ("startContainer", "ssssas", container_id, str(chance.choice(bundles)), "", "", []),
                ("stopContainer", "sb", container_id, chance.random() < 0.7),
                ("pauseContainer", "s", container_id),
                ("resumeContainer", "s", container_id),
                ("getContainerState", "s", container_id),
                ("listContainers", ""),
                ("waitForState", "sst", container_id, "Paused", 20_000),
            ]
        )
        try:
            await client.oci(*call)
        except ErrorReply as error:
            refusals.add(error.name.rpartition(".")[2])


async def until_steady(client: Client, observer: Observer) -> dict[str, dict[str, Any]]:
    """Until a sweep or two have found what there is to find: nothing has changed over a whole List of Dobby's."""
    async with asyncio.timeout(30):
        while True:
            before = await client.objects()
            await client.until_dobby_has("List", (await client.report())["calls"]["List"] + 2)
            if before == await client.objects() == observer.objects:
                return before


@pytest.mark.timeout(120 + 3 * DEATHS)
async def test_an_observer_of_many_deaths(
    client: Client, address: str, start_dobby: StartDobby, start_bridge: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "GRACE_SECONDS", 0.1)
    quick = {"StartFromBundle": 5, "failing": 3, "Reap": 5, "TermIgnored": 20}
    bundles = [
        make_bundle(tmp_path, "sleep"),
        make_bundle(tmp_path, "crashes", exit="139 15"),
        make_bundle(tmp_path, "exits", exit="0 5"),
        make_bundle(tmp_path, "stubborn", term="ignored"),
        make_bundle(tmp_path, "broken", fail="failing"),
    ]
    observer = Observer()
    said: Counter[str] = Counter()
    client.ears += [observer.heard, lambda _path, _interface, member, _body: said.update([member])]
    await client.listen()
    await start_bridge(sweep_interval=Duration(0.05))

    chance = random.Random()  # noqa: S311 - a load, not a secret
    refusals: set[str] = set()
    callers = [Client(await Bus.open(address)) for _ in range(4)]
    loads = [asyncio.create_task(load(caller, bundles, chance, refusals)) for caller in callers]
    for _ in range(DEATHS):
        dobby = start_dobby(durations=quick)
        await client.until_property("DobbyAvailable", wanted=True)
        ended = observer.ended
        async with asyncio.timeout(15):
            while observer.ended < ended + 3:  # it is in full swing
                client.signals.clear()
                await client.until_heard(1, "InterfacesRemoved")
        dobby.kill()
        await client.until_property("DobbyStatus", wanted="absent")
        assert (observer.complaints, observer.objects) == ([], {})
        # Each start that Dobby told of is told once, and each has had its end.
        assert said["Started"] == said["onContainerStarted"] == said["onContainerStopped"] == observer.ended

    start_dobby(durations=quick)
    await client.until_property("DobbyAvailable", wanted=True)
    for task in loads:
        task.cancel()
    assert [r for r in await asyncio.gather(*loads, return_exceptions=True) if not isinstance(r, asyncio.CancelledError)] == []
    told = await until_steady(client, observer)
    listed = await client.dobby("List")
    assert sorted((o["Descriptor"], o["Id"]) for o in told.values()) == sorted(zip(*listed, strict=True))
    states = {o["Id"]: (await client.dobby("GetState", "i", o["Descriptor"]))[0] for o in told.values()}
    assert {o["Id"]: {"Running": 2, "Paused": 4}[o["State"]] for o in told.values()} == states
    assert (observer.complaints, observer.properties["ContainerCount"]) == ([], len(told))
    assert refusals <= FAIR
    assert observer.ended >= 3 * DEATHS
    for caller in callers:
        caller.bus.close()
