# SPDX-License-Identifier: Apache-2.0
"""Pending starts: however one ends, waits for its id are completed."""

import asyncio
from typing import Any, cast

import pytest

from ocibridge.bridge.bundles import Bundles, CheckedBundle
from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.lookup import Lookup
from ocibridge.bridge.start import Starter
from ocibridge.bridge.state_queries import StateQueries
from ocibridge.bridge.waiters import StateWaiters
from ocibridge.config.schema import Config, Settings
from ocibridge.errors import ContainerExists, DobbyUnavailable, InvalidArgs
from ocibridge.mirror.mirror import Mirror
from ocibridge.mirror.observations import DobbyAppeared, DobbyLost, SnapshotTaken, StartAnswered
from ocibridge.model import Origin, Provenance

BUNDLE = CheckedBundle(Provenance(Origin.BUNDLE, "/b", has_rdk_plugins=True))


class Scene:
    """Starts and waits with an empty Dobby; the test ends the reading of a bundle."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waits: StateWaiters | None = None
        self.mirror = Mirror(
            lambda event: self.waits.on_event(event) if self.waits else None, lambda: 0
        )
        self.waits = StateWaiters(self.mirror)
        self.mirror.observe(DobbyAppeared(":1.7"))
        self.mirror.observe(SnapshotTaken(":1.7"))
        self.unavailable = False
        settings = Settings(Config())
        dobby = cast("DobbyApi", self)
        self.starts = Starter(self.mirror, dobby)
        self.states = StateQueries(
            self.mirror,
            dobby,
            Lookup(self.mirror, dobby, settings),
            self.starts,
            self.waits,
            settings,
        )
        self.reading: asyncio.Future[CheckedBundle] = asyncio.get_running_loop().create_future()
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(Bundles, "bundle", lambda *_, **__: self.reading)

    def ensure_available(self) -> None:
        if self.unavailable:
            raise DobbyUnavailable("Dobby is not there")

    def refresh(self, *, fresh: bool = False) -> "asyncio.Future[Any]":
        del fresh
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.set_result(())
        return answer

    def start_from_bundle(self, *_: Any) -> "asyncio.Future[int]":
        return self.answer

    def start(self) -> "asyncio.Task[int]":
        return asyncio.create_task(self.starts.from_bundle("x", "/b", "", "", []))

    def wait(self, word: str) -> "asyncio.Task[str]":
        return asyncio.create_task(self.states.wait_for("x", word, 5))


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


async def test_a_wait_learns_of_a_start_that_is_refused_before_dobby_is_asked(
    scene: Scene,
) -> None:
    start = scene.start()
    await asyncio.sleep(0)
    wait = scene.wait("Stopped")
    await asyncio.sleep(0)
    scene.reading.set_exception(InvalidArgs("no config.json"))
    with pytest.raises(InvalidArgs):
        await start
    assert await wait == "Stopped"


async def test_a_wait_learns_of_a_start_that_is_given_up_while_its_bundle_is_read(
    scene: Scene,
) -> None:
    starting = scene.wait("Starting")
    await asyncio.sleep(0)
    start = scene.start()
    assert await starting == "Starting"
    wait = scene.wait("Stopped")
    await asyncio.sleep(0)
    start.cancel()
    assert await wait == "Stopped"
    assert not scene.starts.is_starting("x")


async def test_a_wait_learns_of_a_dobby_that_went_while_the_bundle_was_read(scene: Scene) -> None:
    start = scene.start()
    await asyncio.sleep(0)
    wait = scene.wait("Stopped")
    await asyncio.sleep(0)
    scene.unavailable = True
    scene.reading.set_result(BUNDLE)
    with pytest.raises(DobbyUnavailable):
        await start
    assert await wait == "Stopped"


async def test_a_start_that_waits_for_dobby_keeps_the_id_until_the_answer(scene: Scene) -> None:
    start = scene.start()
    scene.reading.set_result(BUNDLE)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert list(scene.mirror.provenance()) == [("x", 0)]
    start.cancel()  # its caller times out
    await asyncio.wait([start])
    with pytest.raises(ContainerExists):
        await scene.start()
    wait = scene.wait("Stopped")
    await asyncio.sleep(0)
    scene.mirror.observe(StartAnswered(":1.7", 0, "x", 0))
    assert await wait == "Stopped"


async def test_the_end_of_a_start_does_not_touch_the_next_one(scene: Scene) -> None:
    first = scene.start()
    scene.reading.set_result(BUNDLE)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    scene.mirror.observe(StartAnswered(":1.7", 0, "x", 0))
    scene.reading = asyncio.get_running_loop().create_future()
    scene.start()
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    assert scene.starts.is_starting("x")


async def test_a_start_whose_bundle_is_read_outlives_a_dobby(scene: Scene) -> None:
    start = scene.start()
    await asyncio.sleep(0)
    scene.mirror.observe(DobbyLost(":1.7"))
    assert scene.starts.is_starting("x")
    with pytest.raises(ContainerExists):
        await scene.start()
    start.cancel()
    await asyncio.wait([start])
    assert not scene.starts.is_starting("x")
