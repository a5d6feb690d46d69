"""Who calls: the credentials of a connection, asked of the bus once (reference: sdbus-facts, Who calls)."""

import asyncio
from pathlib import Path
from typing import Any, Final

from ocibridge.bus import Bus, ErrorReply
from ocibridge.model import Caller

MOST_REMEMBERED: Final = 256


class Callers:
    """Looks callers up. Unique names are never used again in the life of a bus, so nothing needs to be forgotten."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._met: dict[str, tuple[Caller, asyncio.Task[None]]] = {}

    def meet(self, sender: str) -> Caller:
        """The caller; what is not known of it yet is asked now, off the path of the call itself, and filled in."""
        if sender not in self._met:
            caller = Caller(sender)
            self._met[sender] = caller, asyncio.get_running_loop().create_task(self._ask(caller))
            if len(self._met) > MOST_REMEMBERED:
                self._met.pop(next(iter(self._met)))
        return self._met[sender][0]

    async def known(self, sender: str) -> None:
        """Until the bus has told what it knows of that caller. It may be cancelled: others wait for the same."""
        if sender in self._met:
            await asyncio.shield(self._met[sender][1])

    async def _ask(self, caller: Caller) -> None:
        try:
            credentials: dict[str, tuple[str, Any]] = await self._bus.driver("GetConnectionCredentials", "s", caller.sender)
        except ErrorReply:
            return
        caller.uid = int(credentials.get("UnixUserID", ("u", -1))[1])
        caller.pid = int(credentials.get("ProcessID", ("u", -1))[1])
        caller.comm = _comm(caller.pid)


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
