"""A caller on the bus, for tests: awaits replies, remembers signals in their order, plays fate with the stand-in."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ocibridge.bus.connection import Bus, ErrorReply, Message, error_of, path_of
from ocibridge.bus.name_watcher import NameWatcher
from ocibridge.names import (
    CONTAINER_INTERFACE,
    CONTAINER_PATH,
    DOBBY_OBJECT,
    DOBBY_SERVICE,
    INTERFACE,
    OBJECT_MANAGER,
    OBJECT_PATH,
    PROPERTIES,
)

BOUND = 15.0  # seconds; a bound for what hangs, not a measure


class Client:
    """All waits are bounded, and on events."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.signals: list[tuple[str, tuple[Any, ...]]] = []
        self.ears: list[
            Callable[[str, str, str, tuple[Any, ...]], None]
        ] = []  # called with path, interface, member, body
        self._news = asyncio.Event()
        self._name_watcher = NameWatcher(bus)

    async def call(
        self, to: str, path: str, interface: str, member: str, signature: str = "", *args: Any
    ) -> tuple[Any, ...]:
        """The reply's body. Raises ErrorReply."""
        reply = self.bus.call(to, path, interface, member, signature, *args)
        await asyncio.wait([reply], timeout=BOUND)
        if not reply.done():
            raise AssertionError(f"no reply to {member} within {BOUND} s")
        failure = reply.exception()
        if failure is not None:
            raise error_of(failure)
        return reply.result().parse_to_tuple()

    # ocibridge

    async def oci(self, member: str, signature: str = "", *args: Any) -> Any:
        """Call org.rdk.OCIContainer1; its one out argument, a tuple of several, or None."""
        body = await self.call(
            "org.rdk.OCIContainer", OBJECT_PATH, INTERFACE, member, signature, *args
        )
        return body[0] if len(body) == 1 else body or None

    async def property(self, name: str) -> Any:
        """A property of org.rdk.OCIContainer1."""
        return (
            await self.call(
                "org.rdk.OCIContainer", OBJECT_PATH, PROPERTIES, "Get", "ss", INTERFACE, name
            )
        )[0][1]

    async def on(self, container_id: str, member: str, signature: str = "", *args: Any) -> Any:
        """Call a method of a container's own object; its one out argument, or None."""
        path = path_of(CONTAINER_PATH, container_id)
        body = await self.call(
            "org.rdk.OCIContainer", path, CONTAINER_INTERFACE, member, signature, *args
        )
        return body[0] if body else None

    async def objects(self) -> dict[str, dict[str, Any]]:
        """GetManagedObjects: the properties of each container's object, by path."""
        (managed,) = await self.call(
            "org.rdk.OCIContainer", OBJECT_PATH, OBJECT_MANAGER, "GetManagedObjects"
        )
        return {
            path: {name: value for name, (_, value) in o[CONTAINER_INTERFACE].items()}
            for path, o in managed.items()
        }

    async def until_property(self, name: str, *, wanted: Any) -> None:
        """Until a property of org.rdk.OCIContainer1 has that value, as PropertiesChanged says."""
        changed = asyncio.Event()
        await self.bus.watch(
            "org.rdk.OCIContainer",
            OBJECT_PATH,
            PROPERTIES,
            "PropertiesChanged",
            lambda _: changed.set(),
        )
        async with asyncio.timeout(BOUND):
            while await self.property(name) != wanted:
                await changed.wait()
                changed.clear()

    async def start(
        self,
        container_id: str,
        bundle: Path,
        command: str = "",
        socket: str = "",
        env: list[str] | None = None,
    ) -> int:
        """startContainer."""
        descriptor: int = await self.oci(
            "startContainer", "ssssas", container_id, str(bundle), command, socket, env or []
        )
        return descriptor

    async def refused(self, member: str, signature: str, *args: Any) -> tuple[str, str]:
        """The last word of the error's name and the text with which that call is refused."""
        try:
            reply = await self.oci(member, signature, *args)
        except ErrorReply as error:
            return error.name.rpartition(".")[2], error.text
        raise AssertionError(f"{member}{args} was not refused: {reply}")

    async def listen(self) -> None:
        """Remember all signals of Dobby and of ocibridge from now on: (member, body)."""
        # One match for both: sd-bus itself compares only unique names, so of two each signal would be heard twice.
        await self.bus.watch(None, None, None, None, self._heard)

    def _heard(self, message: Message) -> None:
        interface = message.interface or ""
        if interface.startswith(("org.rdk.", PROPERTIES, OBJECT_MANAGER)):
            body = message.parse_to_tuple()
            self.signals.append((message.member or "", body))
            for ear in self.ears:
                ear(message.path or "", interface, message.member or "", body)
            self._news.set()

    async def until_signal(self, *wanted: Any) -> None:
        """Until (member, *first arguments) has been heard."""
        await self.until(
            lambda: any((member, *body)[: len(wanted)] == wanted for member, body in self.signals)
        )

    async def until_heard(self, count: int, *members: str) -> None:
        """Until so many signals of these members have been heard."""
        await self.until(lambda: len(self.heard(*members)) >= count)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Until it holds: looked at now, and with each signal that is heard."""
        async with asyncio.timeout(BOUND):
            while not holds():
                self._news.clear()
                await self._news.wait()

    def heard(self, *members: str) -> list[tuple[Any, ...]]:
        """The signals of these members, in order, as (member, *body)."""
        return [(member, *body) for member, body in self.signals if member in members]

    # Dobby

    async def dobby(
        self, member: str, signature: str = "", *args: Any, word: str = "ctrl1"
    ) -> tuple[Any, ...]:
        """Call Dobby as another client of it would."""
        return await self.call(
            DOBBY_SERVICE, DOBBY_OBJECT, f"{DOBBY_SERVICE}.{word}", member, signature, *args
        )

    async def fate(self, member: str, signature: str = "", *args: Any) -> tuple[Any, ...]:
        """Call one of the stand-in's own methods."""
        return await self.call(
            DOBBY_SERVICE, DOBBY_OBJECT, "org.freedesktop.DBus.Mock", member, signature, *args
        )

    async def report(self) -> dict[str, Any]:
        """What the stand-in has been through."""
        report: dict[str, Any] = json.loads((await self.fate("Report"))[0])
        return report

    async def until_dobby_has(self, member: str, count: int = 1) -> None:
        """Until the stand-in has received so many calls of that method."""
        async with asyncio.timeout(BOUND):
            while (await self.report())["calls"].get(member, 0) < count:
                pass

    async def until_owned(self, name: str = DOBBY_SERVICE, *, owned: bool = True) -> None:
        """Until somebody (or nobody) owns the name."""
        seen = asyncio.Event()
        await self._name_watcher.watch(
            name, lambda owner: seen.set() if bool(owner) == owned else None
        )
        async with asyncio.timeout(BOUND):
            await seen.wait()
