# SPDX-License-Identifier: Apache-2.0
"""Random callers, and the errors they may get when Dobby dies."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any, Final

from ocibridge.bus.connection import ErrorReply
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client
from tests.fake_dobby.observer import Observer

IDS: Final = ("a", "b", "c.d", "e-f")
# Any other error is a bug.
FAIR: Final = {
    "DobbyUnavailable",
    "NoSuchContainer",
    "ContainerExists",
    "WrongState",
    "DobbyRefused",
    "Timeout",
}
# Durations of a quick fake Dobby, for bundles of all kinds.
QUICK: Final = {"StartFromBundle": 5, "failing": 3, "Reap": 5, "TermIgnored": 20}
DOBBY_STATES: Final = {"Running": 2, "Paused": 4}


def make_bundles(directory: Path) -> list[Path]:
    """One that sleeps, and others that end or fail."""
    return [
        make_bundle(directory, "sleep"),
        make_bundle(directory, "crashes", exit="139 15"),
        make_bundle(directory, "exits", exit="0 5"),
        make_bundle(directory, "stubborn", term="ignored"),
        make_bundle(directory, "broken", fail="failing"),
    ]


async def load(
    client: Client, bundles: list[Path], chance: random.Random, outcomes: Counter[str]
) -> None:
    """Random calls in turn, until cancelled. Counts how each ended."""
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
            outcomes["reply"] += 1
        except ErrorReply as error:
            outcomes[error.name.rpartition(".")[2]] += 1


async def end(loads: list[asyncio.Task[None]]) -> None:
    """Stop the callers. Raises if one met anything but an error reply."""
    for task in loads:
        task.cancel()
    assert [
        r
        for r in await asyncio.gather(*loads, return_exceptions=True)
        if not isinstance(r, asyncio.CancelledError)
    ] == []


async def until_steady(client: Client, observer: Observer) -> dict[str, dict[str, Any]]:
    """Until the sweeps find nothing new: nothing has changed between two Lists."""
    async with asyncio.timeout(30):
        while True:
            before = await client.objects()
            await client.until_dobby_has("List", (await client.report())["calls"]["List"] + 2)
            if before == await client.objects() == observer.objects:
                return before


async def check_truth(client: Client, observer: Observer) -> None:
    """The observer's view, ours and Dobby's are equal."""
    objects = await until_steady(client, observer)
    listed = await client.dobby("List")
    assert sorted((o["Descriptor"], o["Id"]) for o in objects.values()) == sorted(
        zip(*listed, strict=True)
    )
    states = {
        o["Id"]: (await client.dobby("GetState", "i", o["Descriptor"]))[0] for o in objects.values()
    }
    assert {o["Id"]: DOBBY_STATES[o["State"]] for o in objects.values()} == states
    assert (observer.complaints, observer.properties["ContainerCount"]) == ([], len(objects))
