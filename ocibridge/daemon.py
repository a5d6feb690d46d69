# SPDX-License-Identifier: Apache-2.0
"""Composes the parts of ocibridge, starts them, and stops them."""

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
from ocibridge.api.methods import method_specs
from ocibridge.api.refusals import Refusals
from ocibridge.bridge.bridge import Bridge
from ocibridge.bridge.exit_tracker import ExitTracker
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
from ocibridge.event_router import EventRouter
from ocibridge.mirror.events import Event
from ocibridge.mirror.mirror import Mirror
from ocibridge.systemd import process_signals
from ocibridge.systemd.journal import Journal
from ocibridge.systemd.message_ids import MessageId
from ocibridge.systemd.notify import Notify
from ocibridge.tasks import OncePerTick, Stopped, spawn, unless_stopped

log = structlog.get_logger()

# How long calls in flight may take to finish while stopping.
DRAIN_SECONDS: Final = 5.0
# How long the bus may take to release the name.
RELEASE_SECONDS: Final = 2.0


class Daemon:
    """One ocibridge on one bus.

    `load` reads the configuration anew; it raises ConfigError. `stop`, if given, is the event that
    ends the daemon when set; it may be set already.
    """

    def __init__(
        self,
        bus: Bus,
        bus_id: str,
        config: Config,
        load: Callable[[], Config],
        journal: Journal,
        stop: asyncio.Event | None = None,
    ) -> None:
        self._bus = bus
        self._settings = Settings(config)
        self._reload = Reload(self._settings, load, journal)
        self._notify = Notify()
        self._stop = stop or asyncio.Event()
        self._exit_code = os.EX_OK
        self._name_watcher = NameWatcher(bus)
        self._mirror = Mirror(self._on_event, lambda: time.time_ns() // 1000)
        self._compose_dobby(config)
        waiters = StateWaiters(self._mirror)
        self._exit_tracker = ExitTracker(self._mirror, self._dobby, waiters)
        announcer = self._compose_interface(
            Bridge(self._mirror, self._dobby, self._exit_tracker, waiters, self._settings),
            config.callsign,
            journal,
        )
        # The router comes last: it needs all consumers, and they need the mirror.
        self._event_router = EventRouter(
            self._mirror,
            announcer,
            self._dobby,
            self._exit_tracker,
            ProvenanceStore(runtime_directory() / f"{config.callsign}-{bus_id}.json"),
            bus_id,
            waiters,
            OncePerTick(lambda: self._notify.status(self._status())),
        )

    def _compose_dobby(self, config: Config) -> None:
        self._transport = Transport(self._bus, config.dobby, self._settings)
        self._dobby = DobbyClient(self._transport, self._mirror, self._settings)
        self._monitor = DobbyMonitor(
            self._bus,
            self._name_watcher,
            config.dobby,
            self._mirror,
            self._transport,
            self._dobby,
        )
        self._sweep = Sweep(self._mirror, self._transport, self._dobby, self._settings)

    def _compose_interface(self, bridge: Bridge, callsign: str, journal: Journal) -> Announcer:
        callers = Callers(self._bus)
        self._refusals = Refusals()
        self._dispatcher = Dispatcher(
            self._bus, self._name_watcher, callers, self._mirror, self._settings, self._refusals
        )
        specs = method_specs(bridge)
        self._api = ManagerObject(self._bus, self._mirror, self._dispatcher, specs)
        self._json_rpc = JsonRpc(self._bus, self._dispatcher, specs, callsign)
        self._log_control = LogControl(self._bus, journal, callers, self._refusals)
        return Announcer(
            self._bus,
            self._mirror,
            ContainerObjects(self._bus, self._dispatcher, specs),
            self._json_rpc.notify,
        )

    async def run(self) -> int:
        """Serve until told to stop or until the bus is lost; return the exit code.

        Raises NameTaken, and ErrorReply if the bus refuses something that serving needs.
        """
        loop = asyncio.get_running_loop()
        process_signals.handle_reload(loop, OncePerTick(self._reload_configuration))
        watchdog = spawn(self._notify.feed_watchdog(), "feed the watchdog", vital=True)
        bus_check = spawn(self._check_bus(), "check the bus", vital=True)
        try:
            await unless_stopped(self._stop, self._begin())
            log.info(f"serving as {self._settings.now.callsign}; Dobby is {self._mirror.status}")
            self._notify.ready(self._status())
            await self._stop.wait()
            await self._wind_up()
        except Stopped:
            if self._exit_code == os.EX_OK:  # else the reason has been logged
                log.info("stopped before ocibridge was ready")
        except (ErrorReply, NameTaken):
            if self._exit_code == os.EX_OK:  # else a consequence of a failure that has been logged
                raise
        finally:
            watchdog.cancel()
            bus_check.cancel()
            self._sweep.end()
            self._monitor.end()
            self._refusals.end()
            self._bus.close()
        return self._exit_code

    def stop(self) -> None:
        """Have `run` finish the calls in flight and return."""
        self._stop.set()

    def fail(self) -> None:
        """A vital task has crashed: end, so that systemd restarts ocibridge."""
        self._exit_code = os.EX_SOFTWARE
        self._stop.set()

    async def _begin(self) -> None:
        """Serve all objects, then take the name, so that no caller meets an incomplete mirror.

        The mirror is complete when the first snapshot has been taken or Dobby is absent. A Dobby
        that does not answer within `timeouts.call` is not waited for.
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

    async def _wind_up(self) -> None:
        """Release the name first, so that no new calls come; then let those in flight finish."""
        log.info("stopping")
        self._notify.stopping("stopping; calls in flight may finish")
        self._exit_tracker.release_all()
        if self._exit_code == os.EX_OK:
            # A bus that does not answer must not delay the stop.
            with suppress(ErrorReply, TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._bus.release(self._settings.now.callsign)
        await self._dispatcher.drain(DRAIN_SECONDS)

    def _reload_configuration(self) -> None:
        if self._stop.is_set():
            return
        self._notify.reloading()
        try:
            interval = self._settings.now.sweep_interval
            self._reload.run()
            self._transport.limits_changed()
            if self._settings.now.sweep_interval != interval:
                self._sweep.begin()
        finally:  # systemd waits for this, also after a failure
            self._notify.reloaded(self._status())

    def _bus_lost(self) -> None:
        self._bus_failed("the bus has closed the connection", MessageId.BUS_LOST)

    async def _check_bus(self) -> None:
        await until_stuck(self._bus)
        self._bus_failed(
            f"the bus has not answered for {PATIENCE_SECONDS} s; ocibridge ends, "
            "so that it is restarted with a new connection",
            MessageId.BUS_STUCK,
        )

    def _bus_failed(self, text: str, message_id: MessageId) -> None:
        """End. There may be several signs of one failure; only the first is logged."""
        if self._exit_code == os.EX_OK:
            self._exit_code = os.EX_UNAVAILABLE
            log.error(text, MESSAGE_ID=message_id)
        self._stop.set()

    def _on_event(self, event: Event) -> None:
        self._event_router.on_event(event)

    def _status(self) -> str:
        status = event_log.status_line(
            self._mirror.status, self._mirror.count, self._settings.now.dobby.service
        )
        return status + self._reload.complaint


async def serve(config: Config, load: Callable[[], Config], journal: Journal) -> int:
    """Connect to the bus and run the daemon; return the exit code (see `ocibridge --help`).

    `load` reads the configuration anew; it raises ConfigError.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(lambda _, context: _report_uncaught(context))
    process_signals.handle_stop(loop, stop.set)
    try:
        bus = await unless_stopped(stop, Bus.open(config.bus))
        bus_id = await unless_stopped(stop, bus.driver("GetId"))
        daemon = Daemon(bus, bus_id, config, load, journal, stop)
        loop.set_exception_handler(lambda _, context: _report_uncaught(context, daemon.fail))
        return await daemon.run()
    except Stopped:
        log.info("stopped before the bus had answered")
        return os.EX_OK
    except NameTaken as failure:
        log.error(str(failure), MESSAGE_ID=MessageId.NAME_TAKEN)
    except BusUnavailable as failure:
        log.error(str(failure), MESSAGE_ID=MessageId.BUS_LOST)
    except ErrorReply as failure:
        log.error(
            f"the bus failed before ocibridge was ready: {failure}",
            MESSAGE_ID=MessageId.BUS_LOST,
        )
    finally:
        process_signals.block_all()
    return os.EX_UNAVAILABLE


def _report_uncaught(context: dict[str, Any], fail: Callable[[], None] = lambda: None) -> None:
    """Log an exception that nobody caught, as the event loop's exception handler.

    `fail` is called if it ended a vital task (see `tasks.spawn`).
    """
    failure = context.get("exception")
    if not isinstance(failure, PropertyRefused):  # its caller has had the error reply
        log.error(f"unforeseen: {context['message']}", exc_info=failure, MESSAGE_ID=MessageId.BUG)
    if context.get("vital"):
        fail()
