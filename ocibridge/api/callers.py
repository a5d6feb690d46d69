# SPDX-License-Identifier: Apache-2.0
"""Who calls: the credentials of a connection, asked of the bus once (docs/sdbus.md, Who calls)."""

import asyncio
import grp
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ocibridge.bus.connection import Bus, ErrorReply
from ocibridge.model import UNKNOWN_UID, Caller
from ocibridge.names import GROUP
from ocibridge.tasks import spawn

MAX_REMEMBERED: Final = 256


class Callers:
    """Looks callers up. A bus never reuses a unique name, so that no entry becomes wrong."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._met: dict[str, tuple[Caller, asyncio.Task[None]]] = {}
        self._when_known: dict[Caller, Callable[[Caller], None]] = {}
        self._group = _group_id()

    def meet(self, sender: str) -> Caller:
        """The caller. If it is new, its credentials are asked in the background and filled in."""
        known = self._met.get(sender)
        if known is None:
            caller = Caller(sender)
            known = self._met[sender] = caller, spawn(self._ask(caller), "ask who a caller is")
            if len(self._met) > MAX_REMEMBERED:
                self._met.pop(next(iter(self._met)))
        return known[0]

    async def known(self, sender: str) -> None:
        """Wait until the credentials of that caller are filled in. May be cancelled."""
        if sender in self._met:
            await asyncio.shield(self._met[sender][1])

    def when_known(self, caller: Caller, done: Callable[[Caller], None]) -> None:
        """Call `done` when the caller's user becomes known; never, if the caller has left."""
        met = self._met.get(caller.sender)
        if met is not None and met[0] is caller and not met[1].done():
            self._when_known[caller] = done

    async def _ask(self, caller: Caller) -> None:
        try:
            credentials: dict[str, tuple[str, Any]] = await self._bus.driver(
                "GetConnectionCredentials", "s", caller.sender
            )
            uid = int(credentials.get("UnixUserID", ("u", UNKNOWN_UID))[1])
            caller.pid = int(credentials.get("ProcessID", ("u", -1))[1])
            caller.comm = _comm(caller.pid)
            groups = credentials.get("UnixGroupIDs", ("au", []))[1]
            caller.is_privileged = uid in {0, os.getuid()} or self._group in groups
            caller.uid = uid
        except ErrorReply:
            pass
        done = self._when_known.pop(caller, None)
        if done is not None and caller.uid != UNKNOWN_UID:
            done(caller)


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _group_id() -> int | None:
    """The group's number; None if this machine does not have the group."""
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None
