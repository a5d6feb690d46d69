"""Who owns which name of the bus: Dobby's, and that of a caller who waits (sdbus-facts, Whose signals)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ocibridge.bus.connection import Bus, ErrorReply, Message
from ocibridge.names import DRIVER, DRIVER_PATH
from ocibridge.tasks import spawn

RULE: Final = f"type='signal',sender='{DRIVER}',path='{DRIVER_PATH}',interface='{DRIVER}',member='NameOwnerChanged'"
# A bus gives a connection 512 rules and no more: with one for each who waits, any user could take them all.
LEAVING_RULE: Final = f"{RULE},arg2=''"


class _Rule:
    """One that the bus has, or is being given."""

    def __init__(self, text: str, added: "asyncio.Task[None]") -> None:
        self.text = text
        self.added = added
        self.users = 0


class NameWatcher:
    """Watches names one by one: sdbus cannot say arg0, and without it every stranger that comes and goes wakes us.

    Of connections, as long as any of them is watched, we are told each time that one leaves.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._watched: dict[str, list[Callable[[str], None]]] = {}
        self._begun: asyncio.Task[None] | None = None
        self._rules: dict[str, _Rule] = {}

    async def watch(self, name: str, seen: Callable[[str], None]) -> None:
        """Call `seen` with the owner ("" for none) of `name`: the present one before this returns, then each new one.

        Raises ErrorReply where the bus has no match rule left for us.
        """
        if self._begun is None:
            self._begun = spawn(self._begin(), "watch NameOwnerChanged", expected=ErrorReply)
        await self._begun
        self._watched.setdefault(name, []).append(seen)
        added = self._use_rule(_rule_of(name))
        try:
            await asyncio.shield(added)  # others wait for the same
            seen(await self._owner_of(name))
        except BaseException:
            self.unwatch(name, seen)
            raise

    def unwatch(self, name: str, seen: Callable[[str], None]) -> None:
        """No longer."""
        self._watched[name].remove(seen)
        if not self._watched[name]:
            del self._watched[name]
        rule = self._rules[_rule_of(name)]
        rule.users -= 1
        if not rule.users:
            del self._rules[rule.text]
            spawn(self._remove(rule), "remove a match rule")

    async def _owner_of(self, name: str) -> str:
        try:
            return str(await self._bus.driver("GetNameOwner", "s", name))
        except ErrorReply:
            return ""

    def _use_rule(self, text: str) -> "asyncio.Task[None]":
        if text not in self._rules:
            self._rules[text] = _Rule(
                text,
                spawn(
                    self._bus.driver("AddMatch", "s", text), "add a match rule", expected=ErrorReply
                ),
            )
        self._rules[text].users += 1
        return self._rules[text].added

    async def _remove(self, rule: _Rule) -> None:
        with suppress(ErrorReply):
            await rule.added
            await self._bus.driver("RemoveMatch", "s", rule.text)

    async def _begin(self) -> None:
        await self._bus.watch(DRIVER, DRIVER_PATH, DRIVER, "NameOwnerChanged", self._changed)
        await self._bus.driver(
            "RemoveMatch", "s", RULE
        )  # the broad one, which sdbus has just added

    def _changed(self, message: Message) -> None:
        # The sender first: anyone may send us a signal of that name, with any body; sd-bus's match lets it through.
        if message.sender != DRIVER:
            return
        name, _, owner = message.parse_to_tuple()
        for seen in list(self._watched.get(name, ())):
            seen(owner)


def _rule_of(name: str) -> str:
    return LEAVING_RULE if name.startswith(":") else f"{RULE},arg0='{name}'"
