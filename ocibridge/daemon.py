"""The composition root: makes every part, introduces them to one another, and runs until told to stop."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import structlog

from ocibridge import event_log
from ocibridge.api.announcer import Announcer
from ocibridge.api.callers import Callers
from ocibridge.api.container_objects import ContainerObjects
from ocibridge.api.dispatcher import Dispatcher
from ocibridge.api.json_rpc import JsonRpc
from ocibridge.api.log_control import LogControl
from ocibridge.api.manager_object import ManagerObject
from ocibridge.api.methods import verbs
from ocibridge.bridge.bridge import Bridge
from ocibridge.bridge.exit_tracker import Ends, History
from ocibridge.bridge.provenance_store import ProvenanceStore, runtime_directory
from ocibridge.bridge.waiters import StateWaiters
from ocibridge.bus.connection import Bus, BusUnavailable, ErrorReply, NameTaken, PropertyRefused
from ocibridge.bus.liveness import PATIENCE_SECONDS, until_stuck
from ocibridge.bus.name_watcher import NameWatcher
from ocibridge.config.reload import Reload
from ocibridge.config.schema import Config, Settings
from ocibridge.dobby.client import DobbyClient
from ocibridge.dobby.monitor import DobbyMonitor
from ocibridge.dobby.sweep import Sweep
from ocibridge.dobby.transport import Transport
from ocibridge.errors import DobbyUnavailable
from ocibridge.mirror.events import (
    ContainerEnded,
    ContainerFound,
    ContainerStarted,
    EndHeld,
    EndUnconfirmed,
    Event,
    PendingStartsChanged,
    ProvenanceCorrected,
    StatusChanged,
)
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import DobbyStatus
from ocibridge.systemd import process_signals
from ocibridge.systemd.journal import Journal
from ocibridge.systemd.message_ids import MessageId
from ocibridge.systemd.notify import Notify
from ocibridge.tasks import Stopped, spawn, unless_stopped


class OncePerTick:
    """Calling it has `do` called when the present turn is over: after all that happens in it, before what waits for that."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do
        self._is_due = False

    def __call__(self) -> None:
        """Have it done soon."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._is_due = False
        self._do()


log = structlog.get_logger()

DRAIN_SECONDS: Final = 5.0
RELEASE_SECONDS: Final = 2.0


class Daemon:
    """One ocibridge on one bus."""

    def __init__(
        self,
        bus: Bus,
        bus_id: str,
        config: Config,
        load: Callable[[], Config],
        journal: Journal,
        stop: asyncio.Event | None = None,
    ) -> None:
        """`stop`, if given, is set when the daemon is told to stop: that may be before it is made."""
        self._bus = bus
        self._bus_id = bus_id
        self._settings = Settings(config)
        self._reload = Reload(self._settings, load, journal)
        self._notify = Notify()
        self._stop = stop or asyncio.Event()
        self._exit_code = os.EX_OK
        self._provenance_store = ProvenanceStore(
            runtime_directory() / f"{config.callsign}-{bus_id}.json"
        )
        self._remember_soon = OncePerTick(self._remember)
        self._tell_status_soon = OncePerTick(self._tell_status)
        owners = NameWatcher(bus)
        self._mirror = Mirror(self._happened, lambda: time.time_ns() // 1000)
        self._client = Transport(bus, config.dobby, self._settings)
        self._calls = DobbyClient(self._client, self._mirror, self._settings)
        self._monitor = DobbyMonitor(
            bus, owners, config.dobby, self._mirror, self._client, self._calls
        )
        self._sweep = Sweep(self._mirror, self._client, self._calls, self._settings)
        self._exit_tracker = Ends(self._mirror)
        self._waiters = StateWaiters(self._mirror)
        self._history = History()
        bridge = Bridge(
            self._mirror,
            self._calls,
            self._exit_tracker,
            self._waiters,
            self._history,
            self._settings,
        )
        callers = Callers(bus)
        self._dispatcher = Dispatcher(bus, owners, callers, self._mirror, self._settings)
        on_containers = verbs(bridge)
        self._api = ManagerObject(bus, bridge, self._mirror, self._dispatcher, on_containers)
        self._json_rpc = JsonRpc(bus, self._dispatcher, self._api.members, config.callsign)
        self._log_control = LogControl(bus, journal, callers)
        self._announcer = Announcer(
            bus,
            self._mirror,
            ContainerObjects(bus, self._dispatcher, on_containers),
            self._json_rpc.notify,
        )

    async def run(self) -> int:
        """Serve until told to stop, or until the bus is lost; the exit code. Raises NameTaken."""
        loop = asyncio.get_running_loop()
        process_signals.take_reload(loop, OncePerTick(self._reload_configuration))
        watchdog = spawn(self._notify.feed_watchdog(), "feed the watchdog", vital=True)
        bus_check = spawn(self._check_bus(), "check the bus", vital=True)
        try:
            await unless_stopped(self._stop, self._begin())
            log.info(f"serving as {self._settings.now.callsign}; Dobby is {self._mirror.status}")
            self._notify.ready(self._status())
            await self._stop.wait()
            await self._wind_up()
        except Stopped:
            if self._exit_code == os.EX_OK:  # else the bus was lost, which has been logged
                log.info("stopped before ocibridge was ready")
        except (ErrorReply, NameTaken):
            if self._is_first_failure():
                raise
        finally:
            watchdog.cancel()
            bus_check.cancel()
            self._sweep.end()
            self._monitor.end()
            self._bus.close()
        return self._exit_code

    async def _begin(self) -> None:
        """Be complete, then take the name: callers shall not meet an empty mirror.

        The first picture is in, or Dobby is absent, or has not given one within `timeouts.call`.
        """
        seconds = self._settings.now.timeouts.call
        self._notify.starting(f"looking for {self._settings.now.dobby.service}", seconds)
        await self._bus.watch_disconnect(self._bus_lost)
        self._api.serve()
        self._json_rpc.serve()
        self._log_control.serve()
        await self._monitor.begin()
        self._sweep.begin()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._monitor.settled.wait()
        await self._bus.own(self._settings.now.callsign)

    def stop(self) -> None:
        """Wind up, and let `run` return."""
        self._stop.set()

    async def _wind_up(self) -> None:
        """The name goes first, so that no new call comes; those under way may end."""
        log.info("stopping")
        self._notify.stopping("stopping; calls under way may end")
        self._exit_tracker.hold_nothing()
        if self._exit_code == os.EX_OK:
            with suppress(ErrorReply, TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):  # a bus that is stuck must not keep us
                    await self._bus.release(self._settings.now.callsign)
        await self._dispatcher.drain(DRAIN_SECONDS)

    def _reload_configuration(self) -> None:
        if self._stop.is_set():
            return
        self._notify.reloading()
        try:
            interval = self._settings.now.sweep_interval
            self._reload.run()
            self._client.limits_changed()
            if self._settings.now.sweep_interval != interval:
                self._sweep.begin()
        finally:  # systemd waits for it
            self._notify.reloaded(self._status())

    def _bus_lost(self) -> None:
        if self._is_first_failure():
            log.error("the bus has closed the connection", MESSAGE_ID=MessageId.BUS_LOST)
        self._stop.set()

    async def _check_bus(self) -> None:
        await until_stuck(self._bus)
        if self._is_first_failure():
            log.error(
                f"the bus has not answered for {PATIENCE_SECONDS} s; ocibridge ends, so that it is restarted with a new connection",
                MESSAGE_ID=MessageId.BUS_STUCK,
            )
        self._stop.set()

    def fail(self) -> None:
        """A task without which the daemon cannot go on has crashed: end, and let systemd start another one."""
        self._exit_code = os.EX_SOFTWARE
        self._stop.set()

    def _is_first_failure(self) -> bool:
        """Whether this is the first sign that the bus has failed us: there may be several, and one is logged."""
        is_first, self._exit_code = self._exit_code == os.EX_OK, os.EX_UNAVAILABLE
        return is_first

    def _status(self) -> str:
        return (
            event_log.status_line(
                self._mirror.status, self._mirror.count, self._settings.now.dobby.service
            )
            + self._reload.complaint
        )

    # Events.

    def _happened(self, event: Event) -> None:
        """Each event of the mirror, once, in order: to the journal, to the bus, and to whom it concerns inside."""
        event_log.record(event, self._mirror.owner)
        self._announcer.on_event(event)
        match event:
            case StatusChanged():
                self._calls.status_changed()
                if event.status is DobbyStatus.STARTING:
                    self._mirror.recall(self._provenance_store.recall(self._life()))
            case PendingStartsChanged() if self._mirror.is_starting(event.id):
                # Before the start goes out: if we are killed right after it, our successor must know what it was.
                self._remember()
            case PendingStartsChanged() | ContainerStarted() | ProvenanceCorrected():
                self._remember_soon()
            case ContainerFound():
                self._look_at(event)
            case EndUnconfirmed():
                self._exit_tracker.end_unconfirmed(event, self._calls)
            case EndHeld():
                self._exit_tracker.held(
                    event, awaited=self._waiters.concern(event.id, event.descriptor)
                )
            case ContainerEnded():
                self._history.ended(event)
                self._calls.forget(event.descriptor)
                self._exit_tracker.ended(event)
                self._remember_soon()
            case _:
                pass
        self._waiters.on_event(event)
        self._tell_status_soon()

    def _look_at(self, found: ContainerFound) -> None:
        """Ask for its state, so that it can be announced; if Dobby cannot be asked, the next picture has it."""
        with suppress(DobbyUnavailable):
            self._calls.state(found.descriptor)

    def _life(self) -> str:
        return f"{self._bus_id}/{self._mirror.owner}"

    def _remember(self) -> None:
        self._provenance_store.keep(self._life(), self._mirror.provenance())

    def _tell_status(self) -> None:
        self._notify.status(self._status())


async def serve(config: Config, load: Callable[[], Config], journal: Journal) -> int:
    """Open the bus and run; the exit code (design 12). `load` reads the configuration anew."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(lambda _, context: _unforeseen(context))
    process_signals.take_ends(loop, stop.set)
    try:
        bus = await unless_stopped(stop, Bus.open(config.bus))
        bus_id = await unless_stopped(stop, bus.driver("GetId"))
        daemon = Daemon(bus, bus_id, config, load, journal, stop)
        loop.set_exception_handler(lambda _, context: _unforeseen(context, daemon.fail))
        return await daemon.run()
    except Stopped:
        log.info("stopped before the bus has answered")
        return os.EX_OK
    except NameTaken as failure:
        log.error(str(failure), MESSAGE_ID=MessageId.NAME_TAKEN)
    except BusUnavailable as failure:
        log.error(str(failure), MESSAGE_ID=MessageId.BUS_LOST)
    except ErrorReply as failure:
        log.error(
            f"the bus has failed before ocibridge was ready: {failure}",
            MESSAGE_ID=MessageId.BUS_LOST,
        )
    finally:
        process_signals.shut_out()
    return os.EX_UNAVAILABLE


def _unforeseen(context: dict[str, Any], fail: Callable[[], None] = lambda: None) -> None:
    """What nobody caught: an entry of its own, instead of asyncio's lines on stderr. `fail` is called after a vital task."""
    failure = context.get("exception")
    if not isinstance(failure, PropertyRefused):  # that has been told to whom it concerns
        log.error(f"unforeseen: {context['message']}", exc_info=failure, MESSAGE_ID=MessageId.BUG)
    if context.get("vital"):
        fail()
