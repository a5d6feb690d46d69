# SPDX-License-Identifier: Apache-2.0
"""A private bus for each test.

On it, the fake Dobby runs as a process, and ocibridge in the event loop of the test.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ocibridge.bus.connection import Bus
from ocibridge.config.schema import Config
from ocibridge.daemon import Daemon
from ocibridge.systemd.journal import Journal
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import BOUND, Client
from tests.fake_dobby.processes import Process, fake_dobby, private_bus

StartDobby = Callable[..., Process]
StartBridge = Callable[..., Any]


@pytest.fixture
def address() -> Iterator[str]:
    with private_bus("system") as address:
        yield address


@pytest.fixture
async def client(address: str) -> AsyncIterator[Client]:
    """A client on the bus."""
    bus = await Bus.open(address)
    yield Client(bus)
    bus.close()


@pytest.fixture
def start_dobby(address: str, tmp_path: Path) -> Iterator[StartDobby]:
    """Starts fake Dobbies. The ones still running at the end are stopped."""
    with ExitStack() as stack:

        def start(**parameters: Any) -> Process:
            return stack.enter_context(fake_dobby(address, tmp_path, **parameters))

        yield start


@pytest.fixture
async def start_bridge(
    address: str, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[StartBridge]:
    """Starts ocibridge.

    A coroutine function that takes configuration keys. It returns once the bus name is owned.
    """
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    journal = Journal("debug")
    running: list[tuple[Daemon, asyncio.Task[int]]] = []

    async def start(**keys: Any) -> Daemon:
        bus = await Bus.open(address)
        config = msgspec.structs.replace(Config(), **keys)
        daemon = Daemon(bus, await bus.driver("GetId"), config, lambda: config, journal)
        running.append((daemon, asyncio.create_task(daemon.run(), name="daemon")))
        await client.until_owned("org.rdk.OCIContainer")
        return daemon

    yield start
    for daemon, task in running:
        daemon.stop()
        assert await asyncio.wait_for(task, BOUND) == 0


@pytest.fixture
def dobby_process(start_dobby: StartDobby) -> Process:
    """The fake Dobby with default parameters."""
    return start_dobby()


@pytest.fixture
async def oci(client: Client, dobby_process: Process, start_bridge: StartBridge) -> Client:
    """A client of an ocibridge that is ready. It records the signals of both daemons."""
    assert dobby_process.child.poll() is None
    await start_bridge()
    await client.listen()
    await client.until_property("DobbyAvailable", wanted=True)
    return client


@pytest.fixture
async def app(oci: Client, tmp_path: Path) -> Client:
    """As `oci`, with a running container "app"."""
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    return oci


@pytest.fixture
async def dobby(client: Client, start_dobby: StartDobby) -> Client:
    """A client of a fake Dobby that is ready, without ocibridge."""
    await client.listen()
    start_dobby(hibernation=True)
    await client.until_signal("Ready")
    return client
