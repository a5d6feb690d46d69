"""Who calls: the credentials of a connection, asked of the bus once (reference: sdbus-facts, Who calls)."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ocibridge.bus import Bus, ErrorReply

MOST_REMEMBERED: Final = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """A connection to the bus. `uid` and `pid` are -1 and `comm` "" where it left before it could be asked."""

    sender: str
    uid: int = -1
    pid: int = -1
    comm: str = ""

    def __str__(self) -> str:
        return f"uid {self.uid} ({self.comm or self.sender})"


class Callers:
    """Looks callers up. Unique names are never used again in the life of a bus, so nothing needs to be forgotten."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._known: dict[str, asyncio.Task[Caller]] = {}

    def look_up(self, sender: str) -> "asyncio.Task[Caller]":
        """Start to ask now, while the caller still waits for its answer: off the path of the call itself."""
        known = self._known.get(sender)
        if known is None:
            known = self._known[sender] = asyncio.get_running_loop().create_task(self._ask(sender))
            if len(self._known) > MOST_REMEMBERED:
                self._known.pop(next(iter(self._known)))
        return known

    async def _ask(self, sender: str) -> Caller:
        try:
            credentials: dict[str, tuple[str, Any]] = await self._bus.driver("GetConnectionCredentials", "s", sender)
        except ErrorReply:
            return Caller(sender)
        uid = int(credentials.get("UnixUserID", ("u", -1))[1])
        pid = int(credentials.get("ProcessID", ("u", -1))[1])
        return Caller(sender, uid, pid, _comm(pid))


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
