"""The composition root: makes every part, introduces them to one another, and runs until told to stop."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from typing import Final

import structlog

from ocibridge import journal
from ocibridge.api.announcer import Announcer
from ocibridge.api.boundary import Boundary
from ocibridge.api.container import Containers
from ocibridge.api.oci_container import OciContainer
from ocibridge.api.verbs import verbs
from ocibridge.bridge import Bridge
from ocibridge.bus import Bus, BusUnavailable, ErrorReply, NameTaken
from ocibridge.config import Config
from ocibridge.dobby.calls import Calls
from ocibridge.dobby.client import Client
from ocibridge.dobby.sweep import Sweep
from ocibridge.dobby.watch import Watch
from ocibridge.ends import Ends
from ocibridge.errors import DobbyUnavailable
from ocibridge.events import (
    ContainerEnded,
    ContainerFound,
    ContainerStarted,
    EndDoubted,
    Event,
    PlanCorrected,
    PlansChanged,
    StatusChanged,
)
from ocibridge.history import History
from ocibridge.memory import Memory, runtime_directory
from ocibridge.mirror import Mirror
from ocibridge.model import DobbyStatus
from ocibridge.owners import Owners
from ocibridge.waits import Waits

log = structlog.get_logger()

DRAIN_SECONDS: Final = 5.0


class Daemon:
    """One ocibridge on one bus."""

    def __init__(self, bus: Bus, bus_id: str, config: Config) -> None:
        self._bus = bus
        self._config = config
        self._bus_id = bus_id
        self._stop = asyncio.Event()
        self._exit_code = os.EX_OK
        self._memory = Memory(runtime_directory() / f"{config.callsign}-{bus_id}.json")
        self._memory_is_old = False
        owners = Owners(bus)
        self._mirror = Mirror(self._happened, lambda: time.time_ns() // 1000)
        self._client = Client(bus, config.dobby, config.limits)
        self._calls = Calls(self._client, self._mirror, config.timeouts)
        self._watch = Watch(bus, owners, config.dobby, self._mirror, self._client, self._calls)
        self._sweep = Sweep(self._mirror, self._client, self._calls, config.sweep_interval)
        self._ends = Ends(self._mirror)
        self._waits = Waits(self._mirror)
        self._history = History()
        self._bridge = Bridge(self._mirror, self._calls, self._ends, self._waits, self._history, config.timeouts, config.unknown_origin)
        self._boundary = Boundary(bus, owners)
        on_containers = verbs(self._bridge)
        self._api = OciContainer(bus, self._bridge, self._mirror, self._boundary, on_containers)
        self._announcer = Announcer(bus, self._mirror, Containers(bus, self._boundary, on_containers))

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT, or until the bus is lost; the exit code. Raises NameTaken."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        sweeping = loop.create_task(self._sweep.run())
        try:
            await self._begin()
            if not self._stop.is_set():
                await self._bus.own(self._config.callsign)
                log.info(f"serving as {self._config.callsign}; Dobby is {self._mirror.status}")
                await self._stop.wait()
                await self._wind_up()
        finally:
            sweeping.cancel()
            self._watch.end()
            self._bus.close()
        return self._exit_code

    async def _begin(self) -> None:
        """Be complete before anybody can find us: callers shall not meet an empty mirror.

        The first picture is in, or Dobby is absent, or has not given one within `timeouts.call`.
        """
        await self._bus.watch_disconnect(self._bus_lost)
        self._api.serve()
        await self._watch.begin()
        waits = [asyncio.ensure_future(event.wait()) for event in (self._watch.settled, self._stop)]
        await asyncio.wait(waits, timeout=self._config.timeouts.call, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def stop(self) -> None:
        """Wind up, and let `run` return."""
        self._stop.set()

    async def _wind_up(self) -> None:
        """The name goes first, so that no new call comes; those under way may end."""
        log.info("stopping")
        with suppress(ErrorReply):
            await self._bus.release(self._config.callsign)
        await self._boundary.drain(DRAIN_SECONDS)

    def _bus_lost(self) -> None:
        log.error("the bus has closed the connection")
        self._exit_code = os.EX_UNAVAILABLE
        self._stop.set()

    def _happened(self, event: Event) -> None:
        """Each event of the mirror, once, in order: to the journal, to the bus, and to whom it concerns inside."""
        journal.record(event)
        self._announcer.happened(event)
        match event:
            case StatusChanged():
                self._calls.status_changed()
                if event.status is DobbyStatus.STARTING:
                    self._mirror.recall(self._memory.recall(self._life()))
            case PlansChanged() | ContainerStarted() | PlanCorrected():
                self._remember_soon()
            case ContainerFound():
                self._look_at(event)
            case EndDoubted():
                self._ends.doubted(event, self._calls)
            case ContainerEnded():
                self._history.ended(event)
                self._ends.ended(event)
                self._remember_soon()
            case _:
                pass
        self._waits.happened(event)

    def _look_at(self, found: ContainerFound) -> None:
        """Ask for its state, so that it can be announced; if Dobby cannot be asked, the next picture has it."""
        with suppress(DobbyUnavailable):
            self._calls.state(found.descriptor)

    def _life(self) -> str:
        return f"{self._bus_id}/{self._mirror.life}"

    def _remember_soon(self) -> None:
        """Once a turn of the loop, and before anybody who waits for this event runs."""
        if not self._memory_is_old:
            self._memory_is_old = True
            asyncio.get_running_loop().call_soon(self._remember)

    def _remember(self) -> None:
        self._memory_is_old = False
        self._memory.keep(self._life(), self._mirror.plans())


async def serve(config: Config) -> int:
    """Open the bus and run; the exit code (design 12)."""
    try:
        bus = await Bus.open(config.bus)
        return await Daemon(bus, await bus.driver("GetId"), config).run()
    except (BusUnavailable, NameTaken, ErrorReply) as failure:
        log.error(str(failure))
        return os.EX_UNAVAILABLE
