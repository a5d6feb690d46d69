"""Who calls: the credentials of a connection, asked of the bus once (docs: GetConnectionCredentials, D-Bus specification)."""

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
    """Looks callers up. Unique names are never used again in the life of a bus, so nothing needs to be forgotten."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._met: dict[str, tuple[Caller, asyncio.Task[None]]] = {}
        self._when_known: dict[Caller, Callable[[Caller], None]] = {}
        self._group = _group_id()

    def meet(self, sender: str) -> Caller:
        """The caller; what is not known of it yet is asked now, off the path of the call itself, and filled in."""
        known = self._met.get(sender)
        if known is None:
            caller = Caller(sender)
            known = self._met[sender] = caller, spawn(self._ask(caller), "ask who a caller is")
            if len(self._met) > MAX_REMEMBERED:
                self._met.pop(next(iter(self._met)))
        return known[0]

    async def known(self, sender: str) -> None:
        """Until the bus has told what it knows of that caller. It may be cancelled: others wait for the same."""
        if sender in self._met:
            await asyncio.shield(self._met[sender][1])

    def when_known(self, caller: Caller, told: Callable[[Caller], None]) -> None:
        """Call `told` in the moment in which the caller's user becomes known; never, where the bus does not tell it."""
        self._when_known[caller] = told

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
        told = self._when_known.pop(caller, None)
        if told is not None and caller.uid != UNKNOWN_UID:
            told(caller)


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _group_id() -> int | None:
    """The group's number; None on a machine that does not have it, such as a desk."""
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None
