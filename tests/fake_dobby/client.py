# SPDX-License-Identifier: Apache-2.0
"""A bus client for tests: awaits replies, records signals in order, controls the fake Dobby."""

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
    JSON_RPC_INTERFACE,
    OBJECT_MANAGER,
    OBJECT_PATH,
    PROPERTIES,
)

BOUND = 15.0  # seconds; a bound for what hangs, not a measure


class Client:
    """All waits have a time limit, and wait for events."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.signals: list[tuple[str, tuple[Any, ...]]] = []
        # Called with path, interface, member and body of each signal.
        self.listeners: list[Callable[[str, str, str, tuple[Any, ...]], None]] = []
        self._news = asyncio.Event()
        self._name_watcher = NameWatcher(bus)

    async def call(
        self, to: str, path: str, interface: str, member: str, signature: str = "", *args: Any
    ) -> tuple[Any, ...]:
        """Return the body of the reply. Raises ErrorReply."""
        reply = self.bus.call(to, path, interface, member, signature, *args)
        await asyncio.wait([reply], timeout=BOUND)
        if not reply.done():
            raise AssertionError(f"no reply to {member} within {BOUND} s")
        failure = reply.exception()
        if failure is not None:
            raise error_of(failure)
        return reply.result().parse_to_tuple()

    # ocibridge.

    async def oci(self, member: str, signature: str = "", *args: Any) -> Any:
        """Call org.rdk.OCIContainer1. Returns its one out argument, a tuple of several, or None."""
        body = await self.call(
            "org.rdk.OCIContainer", OBJECT_PATH, INTERFACE, member, signature, *args
        )
        return body[0] if len(body) == 1 else body or None

    async def invoke(self, request: str) -> str:
        """Answer a JSON-RPC request, or a batch."""
        (said,) = await self.call(
            "org.rdk.OCIContainer", OBJECT_PATH, JSON_RPC_INTERFACE, "invoke", "s", request
        )
        return str(said)

    async def property(self, name: str) -> Any:
        """Read a property of org.rdk.OCIContainer1."""
        return (
            await self.call(
                "org.rdk.OCIContainer", OBJECT_PATH, PROPERTIES, "Get", "ss", INTERFACE, name
            )
        )[0][1]

    async def on(self, container_id: str, member: str, signature: str = "", *args: Any) -> Any:
        """Call a method of a container object. Returns its one out argument, or None."""
        path = path_of(CONTAINER_PATH, container_id)
        body = await self.call(
            "org.rdk.OCIContainer", path, CONTAINER_INTERFACE, member, signature, *args
        )
        return body[0] if body else None

    async def objects(self) -> dict[str, dict[str, Any]]:
        """GetManagedObjects: the properties of each container object, by path."""
        (managed,) = await self.call(
            "org.rdk.OCIContainer", OBJECT_PATH, OBJECT_MANAGER, "GetManagedObjects"
        )
        return {
            path: {name: value for name, (_, value) in o[CONTAINER_INTERFACE].items()}
            for path, o in managed.items()
        }

    async def until_property(self, name: str, *, wanted: Any) -> None:
        """Until a property of org.rdk.OCIContainer1 has that value. Woken by PropertiesChanged."""
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
        """Call startContainer. Returns the descriptor."""
        descriptor: int = await self.oci(
            "startContainer", "ssssas", container_id, str(bundle), command, socket, env or []
        )
        return descriptor

    async def refused(self, member: str, signature: str, *args: Any) -> tuple[str, str]:
        """The last part of the error's name, and the text, of a call that must fail."""
        try:
            reply = await self.oci(member, signature, *args)
        except ErrorReply as error:
            return error.name.rpartition(".")[2], error.text
        raise AssertionError(f"{member}{args} was not refused: {reply}")

    async def listen(self) -> None:
        """From now on, record all signals of Dobby and ocibridge as (member, body)."""
        # One match for both. sd-bus matches senders by unique name only, so with two matches each
        # signal would arrive twice.
        await self.bus.watch(None, None, None, None, self._heard)

    def _heard(self, message: Message) -> None:
        interface = message.interface or ""
        if interface.startswith(("org.rdk.", PROPERTIES, OBJECT_MANAGER)):
            body = message.parse_to_tuple()
            self.signals.append((message.member or "", body))
            for listener in self.listeners:
                listener(message.path or "", interface, message.member or "", body)
            self._news.set()

    async def until_signal(self, *wanted: Any) -> None:
        """Until (member, *first arguments) has been received."""
        await self.until(
            lambda: any((member, *body)[: len(wanted)] == wanted for member, body in self.signals)
        )

    async def until_heard(self, count: int, *members: str) -> None:
        """Until so many signals with these members have been received."""
        await self.until(lambda: len(self.heard(*members)) >= count)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Until the condition holds. It is checked now, and after each signal."""
        async with asyncio.timeout(BOUND):
            while not holds():
                self._news.clear()
                await self._news.wait()

    def heard(self, *members: str) -> list[tuple[Any, ...]]:
        """The received signals with these members, in order, as (member, *body)."""
        return [(member, *body) for member, body in self.signals if member in members]

    # Dobby.

    async def dobby(
        self, member: str, signature: str = "", *args: Any, word: str = "ctrl1"
    ) -> tuple[Any, ...]:
        """Call Dobby like another client of it."""
        return await self.call(
            DOBBY_SERVICE, DOBBY_OBJECT, f"{DOBBY_SERVICE}.{word}", member, signature, *args
        )

    async def start_at_dobby(
        self, bundle: Path, container_id: str = "app", socket: str = ""
    ) -> int:
        """Start a container like another client of Dobby. Returns the descriptor, or -1."""
        arguments: tuple[Any, ...] = (container_id, str(bundle), [], "", socket, [], 0, 0)
        descriptor: int = (await self.dobby("StartFromBundle", "ssahssasuu", *arguments))[0]
        return descriptor

    async def control(self, member: str, signature: str = "", *args: Any) -> tuple[Any, ...]:
        """Call a control method of the fake Dobby."""
        return await self.call(
            DOBBY_SERVICE, DOBBY_OBJECT, "org.freedesktop.DBus.Mock", member, signature, *args
        )

    async def report(self) -> dict[str, Any]:
        """The report of the fake Dobby."""
        report: dict[str, Any] = json.loads((await self.control("Report"))[0])
        return report

    async def until_dobby_has(self, member: str, count: int = 1) -> None:
        """Until the fake Dobby has received that many calls of the method."""
        async with asyncio.timeout(BOUND):
            while (await self.report())["calls"].get(member, 0) < count:
                pass

    async def until_owned(self, name: str = DOBBY_SERVICE, *, owned: bool = True) -> None:
        """Until the name has an owner (or has none)."""
        seen = asyncio.Event()
        await self._name_watcher.watch(
            name, lambda owner: seen.set() if bool(owner) == owned else None
        )
        async with asyncio.timeout(BOUND):
            await seen.wait()
