# SPDX-License-Identifier: Apache-2.0
"""Implements `bridge/dobby_api.py`: typed calls whose answers reach the mirror."""

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from ocibridge.config.schema import Settings
from ocibridge.dobby import protocol
from ocibridge.dobby.call_queue import PendingCall, SharedCall
from ocibridge.dobby.protocol import Method
from ocibridge.dobby.status_texts import status_text
from ocibridge.dobby.transport import Transport
from ocibridge.errors import DobbyUnavailable
from ocibridge.mirror.events import (
    ContainerEnded,
    ContainerFound,
    Event,
    StatusChanged,
    UnannouncedEnd,
)
from ocibridge.mirror.mirror import Mirror
from ocibridge.mirror.observations import Listed, StartAnswered, StateSeen
from ocibridge.model import Container, DobbyStatus, SubState
from ocibridge.text import quoted

T = TypeVar("T")


class DobbyClient:
    """Calls to the present Dobby (`DobbyApi`, where the meaning of each reply is described)."""

    def __init__(self, transport: Transport, mirror: Mirror, settings: Settings) -> None:
        self._transport = transport
        self._mirror = mirror
        self._settings = settings
        self._status_since = time.time()
        self._list = SharedCall(self._ask_list)
        self._states: dict[int, SharedCall[SubState]] = {}

    def on_event(self, event: Event) -> None:
        """Take in an event of the mirror."""
        match event:
            case StatusChanged():
                self._status_since = time.time()
            case ContainerFound():
                # The mirror announces it when its state is known. If Dobby cannot be called now,
                # the next snapshot has it.
                with suppress(DobbyUnavailable):
                    self.state(event.descriptor)
            case ContainerEnded() | UnannouncedEnd():
                self._states.pop(event.descriptor, None)
            case _:
                pass

    def ensure_available(self) -> None:
        """See `DobbyApi`."""
        status = self._mirror.status
        if status is DobbyStatus.READY:
            return
        since = ""
        if status in {DobbyStatus.DEAF, DobbyStatus.STALLED}:
            since = time.strftime("%H:%M:%S", time.localtime(self._status_since))
        raise DobbyUnavailable(status_text(status, since))

    def pending_summary(self) -> str:
        """See `DobbyApi`."""
        return self._transport.pending_summary()

    async def probe(self) -> None:
        """Have the mirror take in a List and the state of each container, whatever Dobby's status.

        Raises the errors of `Transport.ask`.
        """
        await self._ask_list().share()
        await asyncio.gather(
            *(self._ask_state(c.descriptor).share() for c in self._mirror.listing())
        )

    # Reading calls. They are shared; the call itself waits as long as this Dobby process exists.

    def refresh(self, *, fresh: bool = False) -> "asyncio.Future[Any]":
        """List."""
        self.ensure_available()
        return self._list.share(self._settings.now.timeouts.call, fresh=fresh)

    def state(self, descriptor: int, *, fresh: bool = False) -> "asyncio.Future[SubState]":
        """GetState."""
        self.ensure_available()
        if descriptor not in self._states:
            self._states[descriptor] = SharedCall(partial(self._ask_state, descriptor))
        return self._states[descriptor].share(self._settings.now.timeouts.call, fresh=fresh)

    def info(self, container: Container) -> "asyncio.Future[str]":
        """GetInfo."""
        return self._about(container, protocol.GET_INFO)

    # Mutating calls.

    def start_from_bundle(
        self, container_id: str, path: str, command: str, socket: str, env: list[str]
    ) -> "asyncio.Future[int]":
        """StartFromBundle."""
        # The last two are user and group, which DobbyProxy always sends; 0 keeps the bundle's own.
        return self._start(
            protocol.START_FROM_BUNDLE,
            container_id,
            (container_id, path, [], command, socket, env, 0, 0),
        )

    def start_from_spec(
        self, container_id: str, spec: str, command: str, socket: str
    ) -> "asyncio.Future[int]":
        """StartFromSpec."""
        return self._start(
            protocol.START_FROM_SPEC, container_id, (container_id, spec, [], command, socket, [])
        )

    def stop(self, container: Container, force: bool, seconds: float) -> "asyncio.Future[bool]":
        """Stop."""
        return self._about(container, protocol.STOP, force, timeout=seconds)

    def pause(self, container: Container) -> "asyncio.Future[bool]":
        """Pause."""
        return self._about(container, protocol.PAUSE)

    def resume(self, container: Container) -> "asyncio.Future[bool]":
        """Resume."""
        return self._about(container, protocol.RESUME)

    def exec(self, container: Container, options: str, command: str) -> "asyncio.Future[bool]":
        """Exec."""
        return self._about(container, protocol.EXEC, options, command)

    def hibernate(self, container: Container, options: str) -> "asyncio.Future[bool]":
        """Hibernate."""
        return self._about(container, protocol.HIBERNATE, options)

    def wakeup(self, container: Container) -> "asyncio.Future[bool]":
        """Wakeup."""
        return self._about(container, protocol.WAKEUP)

    def annotate(self, container: Container, key: str, value: str) -> "asyncio.Future[bool]":
        """Annotate."""
        return self._about(container, protocol.ANNOTATE, key, value)

    def remove_annotation(self, container: Container, key: str) -> "asyncio.Future[bool]":
        """RemoveAnnotation."""
        return self._about(container, protocol.REMOVE_ANNOTATION, key)

    def mount(
        self, container: Container, source: str, target: str, flags: list[str], data: str
    ) -> "asyncio.Future[bool]":
        """Mount."""
        return self._about(container, protocol.MOUNT, source, target, flags, data)

    def unmount(self, container: Container, target: str) -> "asyncio.Future[bool]":
        """Unmount."""
        return self._about(container, protocol.UNMOUNT, target)

    # Sending.

    def _about(
        self, container: Container, method: Method[T], *arguments: Any, timeout: float | None = None
    ) -> "asyncio.Future[T]":
        self.ensure_available()
        seconds = self._settings.now.timeouts.call if timeout is None else timeout
        return self._transport.ask(
            method, container.descriptor, *arguments, timeout=seconds, subject=quoted(container.id)
        ).share()

    def _start(
        self, method: Method[int], container_id: str, arguments: tuple[Any, ...]
    ) -> "asyncio.Future[int]":
        owner, as_of = self._mirror.owner or "", self._mirror.position

        def on_reply(descriptor: int | None) -> None:
            self._mirror.observe(StartAnswered(owner, as_of, container_id, max(descriptor or 0, 0)))

        seconds = self._settings.now.timeouts.start
        return self._transport.ask(
            method, *arguments, timeout=seconds, subject=quoted(container_id), on_reply=on_reply
        ).share()

    def _ask_list(self) -> PendingCall[Any]:
        as_of = _AsOf(self._mirror)
        on_reply = partial(self._take_list, as_of)
        return self._transport.ask(
            protocol.LIST, timeout=None, on_reply=on_reply, on_send=as_of.sent
        )

    def _take_list(self, as_of: "_AsOf", entries: tuple[tuple[int, str], ...] | None) -> None:
        if entries is not None:
            self._mirror.observe(Listed(as_of.owner, as_of.position, entries))

    def _ask_state(self, descriptor: int) -> PendingCall[SubState]:
        as_of = _AsOf(self._mirror)
        on_reply = partial(self._take_state, as_of, descriptor)
        return self._transport.ask(
            protocol.GET_STATE, descriptor, timeout=None, on_reply=on_reply, on_send=as_of.sent
        )

    def _take_state(self, as_of: "_AsOf", descriptor: int, substate: SubState | None) -> None:
        if substate is not None:
            self._mirror.observe(StateSeen(as_of.owner, as_of.position, descriptor, substate))


class _AsOf:
    """The mirror's owner when a question was asked, and its position when the question was sent."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self.owner = mirror.owner or ""
        self.position = mirror.position

    def sent(self) -> None:
        """The question is being sent."""
        self.position = self._mirror.position
