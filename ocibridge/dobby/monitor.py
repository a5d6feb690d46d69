# SPDX-License-Identifier: Apache-2.0
"""Follows the owner of Dobby's name, and turns Dobby's signals into observations.

A signal counts only if its sender is the present owner: anyone may forge one, and the match on the
well-known name lets unicast signals through. The match exists before the first owner is known, so
that no signal of a new owner is missed.
"""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Final

import structlog

from ocibridge.bus.connection import Bus, Message
from ocibridge.bus.name_watcher import NameWatcher
from ocibridge.bus.sd_bus import signature_of
from ocibridge.config.schema import DobbyNames
from ocibridge.dobby.client import DobbyClient
from ocibridge.dobby.protocol import (
    AWOKEN,
    CONTAINER_SIGNAL,
    CTRL,
    HIBERNATED,
    READY,
    SIGNAL_TYPES,
    STARTED,
    STATUS_SIGNAL,
    STOPPED,
    STOPPED_WITH_STATUS,
)
from ocibridge.dobby.transport import DobbyDeaf, DobbyStarting, Transport
from ocibridge.errors import BridgeError, DobbyUnavailable
from ocibridge.mirror.mirror import Mirror
from ocibridge.mirror.observations import (
    DobbyAppeared,
    DobbyLost,
    EndStatus,
    Observation,
    SnapshotTaken,
    Started,
    StateSignal,
    StatusSeen,
    Stopped,
)
from ocibridge.model import DobbyStatus, SubState
from ocibridge.systemd.message_ids import MessageId
from ocibridge.tasks import spawn

log = structlog.get_logger()

# Seconds between two attempts at a snapshot: the first wait, doubled each time up to the last. The
# signal Ready ends a wait. A deaf Dobby is called less often.
FIRST_RETRY: Final = 0.1
LAST_RETRY: Final = 2.0
DEAF_RETRY: Final = 3.0


class DobbyMonitor:
    """Follows Dobby from one owner of its name to the next, and takes a first snapshot of each.

    `Mirror.owner` holds the present owner; only this class changes it, by observations.
    `settled` is set as soon as Dobby is known to be absent, or the first snapshot has been taken.
    """

    def __init__(
        self,
        bus: Bus,
        name_watcher: NameWatcher,
        names: DobbyNames,
        mirror: Mirror,
        transport: Transport,
        dobby: DobbyClient,
    ) -> None:
        self._bus = bus
        self._name_watcher = name_watcher
        self._names = names
        self._mirror = mirror
        self._transport = transport
        self._dobby = dobby
        self._following: asyncio.Task[None] | None = None
        self._ready_signalled = asyncio.Event()
        self._unhealthy_found = asyncio.Event()
        self.settled = asyncio.Event()

    async def begin(self) -> None:
        """Watch the name and its signals. Raises ErrorReply if the bus refuses a match."""
        await self._bus.watch(self._names.service, self._names.object, None, None, self._on_signal)
        await self._name_watcher.watch(self._names.service, self._on_owner)

    def end(self) -> None:
        """Stop following. The matches end with the connection."""
        if self._following is not None:
            self._following.cancel()

    # The owner.

    def _on_owner(self, owner: str) -> None:
        """The name has this owner now; "" is none."""
        former = self._mirror.owner or ""
        if owner == former:
            if not owner:
                self.settled.set()
            return
        if former:
            self._lost(former)
        if owner:
            self._appeared(owner)

    def _lost(self, owner: str) -> None:
        self.end()
        # The mirror first: the callers whose calls fail next must find it empty.
        self._mirror.observe(DobbyLost(owner))
        self._transport.end()
        self.settled.set()

    def _appeared(self, owner: str) -> None:
        self._transport.begin(owner, partial(self._on_unhealthy, owner))
        self._mirror.observe(DobbyAppeared(owner))
        self._following = spawn(self._follow(owner), f"follow Dobby as {owner}", vital=True)

    def _on_unhealthy(self, owner: str, status: DobbyStatus) -> None:
        """Dobby is DEAF or STALLED: it counts as unavailable until a snapshot succeeds."""
        if self._mirror.status is not status:
            self._mirror.observe(StatusSeen(owner, status))
            self._unhealthy_found.set()

    async def _follow(self, owner: str) -> None:
        """Take a snapshot now, and again each time that Dobby turns out deaf or stalled."""
        while True:
            self._unhealthy_found.clear()
            await self._take_snapshot(owner)
            self._mirror.observe(SnapshotTaken(owner))
            self.settled.set()
            await self._unhealthy_found.wait()

    async def _take_snapshot(self, owner: str) -> None:
        retry = FIRST_RETRY
        logged = ""
        while True:
            self._ready_signalled.clear()
            try:
                await self._dobby.probe()
                return
            except DobbyStarting:
                self._mirror.observe(StatusSeen(owner, DobbyStatus.STARTING))
            except DobbyDeaf:
                retry = DEAF_RETRY
            except DobbyUnavailable:
                pass  # it left the bus; the name's owner will change
            except BridgeError as error:
                if error.text != logged:
                    log.warning(
                        "Dobby cannot be read",
                        reason=error.text,
                        MESSAGE_ID=MessageId.DOBBY_UNREADABLE,
                    )
                logged, retry = error.text, LAST_RETRY
            with suppress(TimeoutError):
                async with asyncio.timeout(retry):
                    await self._ready_signalled.wait()
            retry = min(retry * 2, LAST_RETRY)

    # Signals.

    def _on_signal(self, message: Message) -> None:
        owner = self._mirror.owner
        if owner is None or message.sender != owner:
            return
        word = (message.interface or "").removeprefix(f"{self._names.service}.")
        signal = word, message.member or ""
        if signal == READY:
            self._ready_signalled.set()
        elif word == CTRL:
            body = message.parse_to_tuple()
            signature = signature_of(message)
            if signature is None:  # unknown: judge by the Python types
                signature = SIGNAL_TYPES.get(tuple(type(v) for v in body), "")
            if signature == CONTAINER_SIGNAL:
                self._on_container_signal(owner, signal, *body)
            elif signature == STATUS_SIGNAL and signal == STOPPED_WITH_STATUS:
                self._mirror.observe(EndStatus(owner, *body))

    def _on_container_signal(
        self, owner: str, signal: tuple[str, str], descriptor: int, container_id: str
    ) -> None:
        seen: Observation
        if signal == STARTED:
            seen = Started(owner, descriptor, container_id)
        elif signal == STOPPED:
            seen = Stopped(owner, descriptor, container_id)
        elif signal == HIBERNATED:
            seen = StateSignal(owner, descriptor, container_id, SubState.HIBERNATED)
        elif signal == AWOKEN:
            seen = StateSignal(owner, descriptor, container_id, SubState.RUNNING)
        else:
            return
        self._mirror.observe(seen)
