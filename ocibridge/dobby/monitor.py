"""The life of Dobby's name, and its signals (design 6, 7).

Signals count only from the name's unique owner: anyone may forge one, and a match on the well-known name lets unicast
ones through. That match is there from before the first owner, so that no signal of a new one is missed.
"""

import asyncio
from contextlib import suppress
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
    ReplyFailure,
)
from ocibridge.dobby.transport import DobbyDeaf, DobbyStarting, Transport
from ocibridge.errors import BridgeError, DobbyUnavailable
from ocibridge.mirror.mirror import Mirror
from ocibridge.mirror.observations import (
    DobbyAppeared,
    DobbyLost,
    EndStatus,
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

# Between two tries of List: a starting Dobby says Ready by itself, a deaf one must not be pestered.
FIRST_RETRY: Final = 0.1
LAST_RETRY: Final = 2.0
DEAF_RETRY: Final = 3.0


class DobbyMonitor:
    """Follows Dobby from one owner to the next, and keeps the mirror's first picture of each."""

    def __init__(
        self,
        bus: Bus,
        owners: NameWatcher,
        names: DobbyNames,
        mirror: Mirror,
        client: Transport,
        calls: DobbyClient,
    ) -> None:
        self._bus = bus
        self._name_watcher = owners
        self._names = names
        self._mirror = mirror
        self._client = client
        self._calls = calls
        client.on_unhealthy = self._on_unhealthy
        self._owner = ""
        self._following: asyncio.Task[None] | None = None
        self._ready_said = asyncio.Event()
        self._upset = asyncio.Event()
        self.settled = asyncio.Event()  # set once Dobby is absent, or its first picture is in

    async def begin(self) -> None:
        """Watch the name and its signals from now on."""
        await self._bus.watch(self._names.service, self._names.object, None, None, self._signalled)
        await self._name_watcher.watch(self._names.service, self._owner_is)

    def end(self) -> None:
        """Stop following (the matches go with the connection)."""
        if self._following is not None:
            self._following.cancel()

    def _on_unhealthy(self, refusal: ReplyFailure) -> None:
        """The client found Dobby deaf, or stalled: nothing is asked of it until a probe is answered."""
        status = DobbyStatus.DEAF if refusal is ReplyFailure.DEAF else DobbyStatus.STALLED
        if self._mirror.status is not status:
            self._mirror.observe(StatusSeen(self._owner, status))
            self._upset.set()

    # The name.

    def _owner_is(self, owner: str) -> None:
        if owner == self._owner:
            if not owner:
                self.settled.set()
            return
        if self._owner:
            self._lose()
        if owner:
            self._meet(owner)

    def _lose(self) -> None:
        owner, self._owner = self._owner, ""
        self.end()
        # The mirror first: whoever is woken by the failed calls finds it void already.
        self._mirror.observe(DobbyLost(owner))
        self._client.end()
        self.settled.set()

    def _meet(self, owner: str) -> None:
        self._owner = owner
        self._client.begin(owner)
        self._mirror.observe(DobbyAppeared(owner))
        self._following = spawn(self._follow(owner), f"follow Dobby as {owner}", vital=True)

    async def _follow(self, owner: str) -> None:
        """One life: a picture, then another one after each time that Dobby was deaf or stalled."""
        while True:
            self._upset.clear()
            await self._take_picture(owner)
            self._mirror.observe(SnapshotTaken(owner))
            self.settled.set()
            await self._upset.wait()

    async def _take_picture(self, owner: str) -> None:
        retry = FIRST_RETRY
        said = ""
        while True:
            self._ready_said.clear()
            try:
                await self._calls.probe()
                return
            except DobbyStarting:
                self._mirror.observe(StatusSeen(owner, DobbyStatus.STARTING))
            except DobbyDeaf:
                retry = DEAF_RETRY
            except DobbyUnavailable:
                pass  # it went away with the call; the bus will say so
            except BridgeError as error:
                if error.text != said:
                    log.warning(
                        "Dobby cannot be read",
                        reason=error.text,
                        MESSAGE_ID=MessageId.DOBBY_UNREADABLE,
                    )
                said, retry = error.text, LAST_RETRY
            with suppress(TimeoutError):
                async with asyncio.timeout(retry):
                    await self._ready_said.wait()
            retry = min(retry * 2, LAST_RETRY)

    # The signals.

    def _signalled(self, message: Message) -> None:
        if not self._owner or message.sender != self._owner:
            return
        word = (message.interface or "").removeprefix(f"{self._names.service}.")
        member = message.member or ""
        if (word, member) == READY:
            self._ready_said.set()
        elif word == CTRL:
            body = message.parse_to_tuple()
            signature = signature_of(message)
            if signature is None:  # not known: the Python types have to do
                signature = SIGNAL_TYPES.get(tuple(type(v) for v in body), "")
            if signature == CONTAINER_SIGNAL:
                self._container_signalled((word, member), *body)
            elif signature == STATUS_SIGNAL and (word, member) == STOPPED_WITH_STATUS:
                self._mirror.observe(EndStatus(self._owner, *body))

    def _container_signalled(
        self, signal: tuple[str, str], descriptor: int, container_id: str
    ) -> None:
        if signal == STARTED:
            self._mirror.observe(Started(self._owner, descriptor, container_id))
        elif signal == STOPPED:
            self._mirror.observe(Stopped(self._owner, descriptor, container_id))
        elif signal == HIBERNATED:
            self._mirror.observe(
                StateSignal(self._owner, descriptor, container_id, SubState.HIBERNATED)
            )
        elif signal == AWOKEN:
            self._mirror.observe(
                StateSignal(self._owner, descriptor, container_id, SubState.RUNNING)
            )
