"""Dobby's methods as the bridge knows them: typed, guarded by Dobby's status, their answers fed to the mirror."""

import asyncio
import time
from functools import partial
from typing import Any, TypeVar

from ocibridge.config.schema import Settings
from ocibridge.dobby import protocol
from ocibridge.dobby.call_queue import PendingCall, SharedCall
from ocibridge.dobby.protocol import Method
from ocibridge.dobby.transport import Transport
from ocibridge.errors import DobbyUnavailable
from ocibridge.mirror.mirror import Mirror
from ocibridge.mirror.observations import Listed, StartAnswered, StateSeen
from ocibridge.model import Container, DobbyStatus, SubState
from ocibridge.text import quoted

T = TypeVar("T")

WHY_UNAVAILABLE = {
    DobbyStatus.ABSENT: "Dobby is not on the bus; is it running? (systemctl status dobby)",
    DobbyStatus.STARTING: "Dobby is starting and does not take calls yet",
    DobbyStatus.DEAF: "Dobby has no reply slot left and answers nobody since {since}; it has to be restarted (systemctl restart dobby)",
    DobbyStatus.STALLED: "Dobby has stopped answering, known since {since}",
}


class DobbyClient:
    """What the bridge can ask of Dobby (`port.Dobby`). Each method sends at once and returns a future."""

    def __init__(self, client: Transport, mirror: Mirror, settings: Settings) -> None:
        self._client = client
        self._mirror = mirror
        self._unavailable_since = time.time()
        self._settings = settings
        self._listing = SharedCall(self._ask_list)
        self._states: dict[int, SharedCall[SubState]] = {}

    def status_changed(self) -> None:
        """The mirror's status is another one: from now on is what error texts say."""
        self._unavailable_since = time.time()

    def ensure_available(self) -> None:
        """Raise DobbyUnavailable, saying why and since when, unless Dobby can be asked."""
        why = WHY_UNAVAILABLE.get(self._mirror.status)
        if why is not None:
            since = time.strftime("%H:%M:%S", time.localtime(self._unavailable_since))
            raise DobbyUnavailable(why.format(since=since))

    def pending_summary(self) -> str:
        """What keeps Dobby from answering, for error texts."""
        return self._client.pending_summary()

    # Reading. The question itself waits as long as Dobby lives, each asker as long as it likes.

    def refresh(self, *, fresh: bool = False) -> "asyncio.Future[Any]":
        """Have the mirror take in Dobby's List; `fresh`: not one that was asked before."""
        self.ensure_available()
        return self._listing.share(self._settings.now.timeouts.call, fresh=fresh)

    def state(self, descriptor: int, *, fresh: bool = False) -> "asyncio.Future[SubState]":
        """Dobby's GetState; INVALID where it says 0, which may be an end in progress. `fresh` as with `listing`."""
        self.ensure_available()
        if descriptor not in self._states:
            self._states[descriptor] = SharedCall(partial(self._ask_state, descriptor))
        return self._states[descriptor].share(self._settings.now.timeouts.call, fresh=fresh)

    def forget(self, descriptor: int) -> None:
        """The container of that descriptor has ended: nobody asks for its state any more."""
        self._states.pop(descriptor, None)

    async def probe(self) -> None:
        """A whole picture, asked whatever Dobby's status is."""
        await self._ask_list().share()
        await asyncio.gather(
            *(self._ask_state(c.descriptor).share() for c in self._mirror.listing())
        )

    def info(self, container: Container) -> "asyncio.Future[str]":
        """Dobby's GetInfo: the JSON text, "" for an unknown descriptor."""
        return self._about(container, protocol.GET_INFO)

    # Changing.

    def start_from_bundle(
        self, container_id: str, path: str, command: str, socket: str, env: list[str]
    ) -> "asyncio.Future[int]":
        """The descriptor, or -1. The caller has planned the start with the mirror."""
        # Dobby's own client library always sends a user and a group; 0 leaves the bundle's own (facts 2).
        return self._start(
            protocol.START_FROM_BUNDLE,
            container_id,
            (container_id, path, [], command, socket, env, 0, 0),
        )

    def start_from_spec(
        self, container_id: str, spec: str, command: str, socket: str
    ) -> "asyncio.Future[int]":
        """As `start_from_bundle`; NotSupported by builds without LEGACY_COMPONENTS."""
        return self._start(
            protocol.START_FROM_SPEC, container_id, (container_id, spec, [], command, socket, [])
        )

    def stop(self, container: Container, force: bool, seconds: float) -> "asyncio.Future[bool]":
        """True: accepted, not yet dead. Ends within `seconds`."""
        return self._about(container, protocol.STOP, force, timeout=seconds)

    def pause(self, container: Container) -> "asyncio.Future[bool]":
        """False also where it is paused already."""
        return self._about(container, protocol.PAUSE)

    def resume(self, container: Container) -> "asyncio.Future[bool]":
        """False also where it is not paused."""
        return self._about(container, protocol.RESUME)

    def exec(self, container: Container, options: str, command: str) -> "asyncio.Future[bool]":
        """True: crun could spawn DobbyInit in the container, no more."""
        return self._about(container, protocol.EXEC, options, command)

    def hibernate(self, container: Container, options: str) -> "asyncio.Future[bool]":
        """True: begun, or ignored by a Dobby that cannot."""
        return self._about(container, protocol.HIBERNATE, options)

    def wakeup(self, container: Container) -> "asyncio.Future[bool]":
        """True: begun."""
        return self._about(container, protocol.WAKEUP)

    def annotate(self, container: Container, key: str, value: str) -> "asyncio.Future[bool]":
        """True: done. Crashes Dobby where the bundle has no rdkPlugins."""
        return self._about(container, protocol.ANNOTATE, key, value)

    def remove_annotation(self, container: Container, key: str) -> "asyncio.Future[bool]":
        """False also where there is no such key. Crashes Dobby as `annotate` does."""
        return self._about(container, protocol.REMOVE_ANNOTATION, key)

    def mount(
        self, container: Container, source: str, target: str, flags: list[str], data: str
    ) -> "asyncio.Future[bool]":
        """True: mounted, though in most builds without "ro" and "nosuid"."""
        return self._about(container, protocol.MOUNT, source, target, flags, data)

    def unmount(self, container: Container, target: str) -> "asyncio.Future[bool]":
        """`target`: the path in the container."""
        return self._about(container, protocol.UNMOUNT, target)

    # How it is asked.

    def _about(
        self, container: Container, method: Method[T], *arguments: Any, timeout: float | None = None
    ) -> "asyncio.Future[T]":
        self.ensure_available()
        seconds = self._settings.now.timeouts.call if timeout is None else timeout
        return self._client.ask(
            method, container.descriptor, *arguments, timeout=seconds, subject=quoted(container.id)
        ).share()

    def _start(
        self, method: Method[int], container_id: str, arguments: tuple[Any, ...]
    ) -> "asyncio.Future[int]":
        owner, as_of = self._mirror.owner or "", self._mirror.position

        def on_reply(descriptor: int | None) -> None:
            self._mirror.observe(StartAnswered(owner, as_of, container_id, max(descriptor or 0, 0)))

        seconds = self._settings.now.timeouts.start
        return self._client.ask(
            method, *arguments, timeout=seconds, subject=quoted(container_id), on_reply=on_reply
        ).share()

    def _ask_list(self) -> PendingCall[Any]:
        as_of = _AsOf(self._mirror)
        return self._client.ask(
            protocol.LIST,
            timeout=None,
            on_reply=partial(self._list_arrived, as_of),
            on_send=as_of.now,
        )

    def _list_arrived(self, as_of: "_AsOf", entries: tuple[tuple[int, str], ...] | None) -> None:
        if entries is not None:
            self._mirror.observe(Listed(as_of.owner, as_of.position, entries))

    def _ask_state(self, descriptor: int) -> PendingCall[SubState]:
        as_of = _AsOf(self._mirror)
        seen = partial(self._state_arrived, as_of, descriptor)
        return self._client.ask(
            protocol.GET_STATE, descriptor, timeout=None, on_reply=seen, on_send=as_of.now
        )

    def _state_arrived(self, as_of: "_AsOf", descriptor: int, substate: SubState | None) -> None:
        if substate is not None:
            self._mirror.observe(StateSeen(as_of.owner, as_of.position, descriptor, substate))


class _AsOf:
    """Where in the mirror's order a question went out: what has been touched since, its answer says nothing of."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self.owner = mirror.owner or ""
        self.position = mirror.position

    def now(self) -> None:
        """It goes out."""
        self.position = self._mirror.position
