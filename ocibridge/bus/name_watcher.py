# SPDX-License-Identifier: Apache-2.0
"""Watches the owners of bus names: Dobby's name, and callers in a wait."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ocibridge.bus.connection import Bus, ErrorReply, Message
from ocibridge.names import DRIVER, DRIVER_PATH
from ocibridge.tasks import spawn

RULE: Final = (
    f"type='signal',sender='{DRIVER}',path='{DRIVER_PATH}',"
    f"interface='{DRIVER}',member='NameOwnerChanged'"
)
# One rule for all callers: a connection may have 512, which a user could use up with 512 waits.
LEAVING_RULE: Final = f"{RULE},arg2=''"


class _Rule:
    """A match rule at the bus. `added`: the AddMatch call. `users`: how many watches need it."""

    def __init__(self, text: str, added: "asyncio.Task[None]") -> None:
        self.text = text
        self.added = added
        self.users = 0


class NameWatcher:
    """Watches bus names by match rules of our own.

    python-sdbus cannot match on arg0, and without that, every connect and disconnect on the bus
    would wake us. Well-known names have a rule each; unique names share one for all disconnects.
    (docs/sdbus.md, Matching signals)
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._watched: dict[str, list[Callable[[str], None]]] = {}
        self._begun: asyncio.Task[None] | None = None
        self._rules: dict[str, _Rule] = {}

    async def watch(self, name: str, on_owner: Callable[[str], None]) -> None:
        """Call `on_owner` with the owner of `name`, "" for none: now, and at each change.

        The first call comes before this returns. Raises ErrorReply if the bus refuses the rule.
        """
        if self._begun is None:
            self._begun = spawn(self._begin(), "watch NameOwnerChanged", expected=ErrorReply)
        await self._begun
        self._watched.setdefault(name, []).append(on_owner)
        added = self._use_rule(_rule_of(name))
        try:
            await asyncio.shield(added)  # other watches may share it
            on_owner(await self._owner_of(name))
        except BaseException:
            self.unwatch(name, on_owner)
            raise

    def unwatch(self, name: str, on_owner: Callable[[str], None]) -> None:
        """Undo a `watch` with the same arguments."""
        self._watched[name].remove(on_owner)
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
            add = self._bus.driver("AddMatch", "s", text)
            self._rules[text] = _Rule(text, spawn(add, "add a match rule", expected=ErrorReply))
        self._rules[text].users += 1
        return self._rules[text].added

    async def _remove(self, rule: _Rule) -> None:
        with suppress(ErrorReply):
            await rule.added
            await self._bus.driver("RemoveMatch", "s", rule.text)

    async def _begin(self) -> None:
        await self._bus.watch(DRIVER, DRIVER_PATH, DRIVER, "NameOwnerChanged", self._on_change)
        # Take back at the bus the broad rule that this added; the callback stays installed.
        await self._bus.driver("RemoveMatch", "s", RULE)

    def _on_change(self, message: Message) -> None:
        # Check the sender before the body is read: a signal sent to us alone passes the match.
        if message.sender != DRIVER:
            return
        name, _, owner = message.parse_to_tuple()
        for on_owner in list(self._watched.get(name, ())):
            on_owner(owner)


def _rule_of(name: str) -> str:
    return LEAVING_RULE if name.startswith(":") else f"{RULE},arg0='{name}'"
