"""Who owns which name of the bus: Dobby's, and that of a caller who waits (sdbus-facts, Whose signals)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from ocibridge.bus import Bus, ErrorReply, Message
from ocibridge.names import DRIVER, DRIVER_PATH

RULE = f"type='signal',sender='{DRIVER}',path='{DRIVER_PATH}',interface='{DRIVER}',member='NameOwnerChanged'"


class Owners:
    """Watches names one by one: sdbus cannot say arg0, and without it every stranger that comes and goes wakes us."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._watched: dict[str, list[Callable[[str], None]]] = {}
        self._begun: asyncio.Task[None] | None = None
        self._removals: set[asyncio.Task[None]] = set()

    async def watch(self, name: str, seen: Callable[[str], None]) -> None:
        """Call `seen` with the owner ("" for none) of `name`: the present one before this returns, then each new one.

        Raises ErrorReply where the bus has no match rule left for us.
        """
        if self._begun is None:
            self._begun = asyncio.get_running_loop().create_task(self._begin())
        await self._begun
        self._watched.setdefault(name, []).append(seen)
        try:
            await self._bus.driver("AddMatch", "s", _rule_of(name))
        except ErrorReply:
            self._drop(name, seen)
            raise
        try:
            seen(str(await self._bus.driver("GetNameOwner", "s", name)))
        except ErrorReply:
            seen("")

    def unwatch(self, name: str, seen: Callable[[str], None]) -> None:
        """No longer. The bus counts rules, so each `watch` has one of its own."""
        self._drop(name, seen)
        removal = asyncio.get_running_loop().create_task(self._remove(name))
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    async def _remove(self, name: str) -> None:
        with suppress(ErrorReply):
            await self._bus.driver("RemoveMatch", "s", _rule_of(name))

    async def _begin(self) -> None:
        await self._bus.watch(DRIVER, DRIVER_PATH, DRIVER, "NameOwnerChanged", self._changed)
        await self._bus.driver("RemoveMatch", "s", RULE)  # the broad one, which sdbus has just added

    def _drop(self, name: str, seen: Callable[[str], None]) -> None:
        self._watched[name].remove(seen)
        if not self._watched[name]:
            del self._watched[name]

    def _changed(self, message: Message) -> None:
        name, _, owner = message.parse_to_tuple()
        if message.sender == DRIVER:
            for seen in list(self._watched.get(name, ())):
                seen(owner)


def _rule_of(name: str) -> str:
    return f"{RULE},arg0='{name}'"
