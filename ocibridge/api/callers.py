# SPDX-License-Identifier: Apache-2.0
"""Who calls: the credentials of a connection, asked of the bus once (docs/sdbus.md, Who calls)."""

import asyncio
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

from ocibridge.access.identity import gid_of, identity_of
from ocibridge.bus.connection import Bus, ErrorReply
from ocibridge.errors import LimitsExceeded
from ocibridge.files import Readers
from ocibridge.model import UNKNOWN_UID, Caller
from ocibridge.names import CALLERS_GROUP, GROUP
from ocibridge.tasks import spawn

MAX_REMEMBERED: Final = 256
# Where dbus-daemon 1.14 and dbus-broker 23 give the groups of a process.
GROUPS_KEY: Final = "UnixGroupIDs"


class Callers:
    """Looks callers up. A bus never reuses a unique name, so that no entry becomes wrong."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._met: dict[str, tuple[Caller, asyncio.Task[None]]] = {}
        self._when_known: dict[Caller, Callable[[Caller], None]] = {}
        self._readers = Readers("look-ups of users and groups")
        self._looks: dict[Caller, asyncio.Task[None]] = {}
        # The groups that the bus's policy allows everything; None for one that does not exist.
        self._trusted_gids = {gid_of(GROUP), gid_of(CALLERS_GROUP)}

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

    async def identify(self, caller: Caller) -> None:
        """Fill in the identity of a caller whose credentials are known.

        It is looked up once for a connection, off the event loop. Raises LimitsExceeded, OSError.
        """
        if caller.identity is None:
            if caller not in self._looks:
                self._looks[caller] = spawn(
                    self._look_up(caller), "look up a caller", expected=(LimitsExceeded, OSError)
                )
            await asyncio.shield(self._looks[caller])

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
            if GROUPS_KEY in credentials:
                caller.gids = tuple(credentials[GROUPS_KEY][1])
            caller.is_privileged = uid in {0, os.getuid()} or self._is_trusted(caller.gids or ())
            caller.uid = uid
        except ErrorReply:
            pass
        done = self._when_known.pop(caller, None)
        if done is not None and caller.uid != UNKNOWN_UID:
            done(caller)
        if caller.uid != UNKNOWN_UID and caller.gids is None and not caller.is_privileged:
            # An old bus (dbus-daemon before 1.14). Not awaited, as waits need only the user.
            failures = LimitsExceeded, OSError
            spawn(self.identify(caller), "look up a caller's groups", expected=failures)

    def _is_trusted(self, gids: Iterable[int]) -> bool:
        return not self._trusted_gids.isdisjoint(gids)

    async def _look_up(self, caller: Caller) -> None:
        try:
            identity = await self._readers.run(partial(identity_of, caller.uid, caller.gids))
            caller.identity = identity
            caller.is_privileged |= self._is_trusted(gid for gid, _ in identity.groups)
        finally:  # after a failure, the next call tries again
            del self._looks[caller]


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
