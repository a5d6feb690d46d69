# SPDX-License-Identifier: Apache-2.0
"""The journal entries of calls that access control refuses (docs/design.md, Access).

There is one entry for a user and a method in PERIOD_SECONDS, with the number of calls. Otherwise
any user could push all other entries out of the journal.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from ocibridge.systemd.message_ids import MessageId

PERIOD_SECONDS: Final = 10.0
# Users and methods that are told apart at one time. This bounds the memory, since one user can have
# many uids (user_namespaces(7)).
MAX_TALLIES: Final = 256
OTHERS: Final = (-1, "")
# Makes the text and the fields of an entry. Called only for what is logged.
Entry = Callable[[], tuple[str, dict[str, Any]]]


@dataclass(slots=True)
class _Tally:
    """What has not been logged yet for one user and method: the number, and the last of them."""

    timer: asyncio.TimerHandle
    count: int = 0
    last: Entry | None = None


class Refusals:
    """Logs refused calls: the first at once, then their number when the period is over."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[int, str], _Tally] = {}

    def add(self, uid: int, method: str, entry: Entry) -> None:
        """Count a refusal."""
        key = (uid, method)
        if key not in self._tallies and len(self._tallies) >= MAX_TALLIES:
            key = OTHERS
        tally = self._tallies.get(key)
        if tally is None:
            _log(1, entry)
            self._begin_period(key)
        else:
            tally.count += 1
            tally.last = entry

    def end(self) -> None:
        """Log what has not been logged yet."""
        for tally in self._tallies.values():
            tally.timer.cancel()
            _log(tally.count, tally.last)
        self._tallies.clear()

    def _begin_period(self, key: tuple[int, str]) -> None:
        loop = asyncio.get_running_loop()
        self._tallies[key] = _Tally(loop.call_later(PERIOD_SECONDS, self._end_period, key))

    def _end_period(self, key: tuple[int, str]) -> None:
        tally = self._tallies.pop(key)
        if tally.count:
            _log(tally.count, tally.last)
            self._begin_period(key)


def _log(count: int, entry: Entry | None) -> None:
    if entry is None:
        return
    text, fields = entry()
    more = "" if count == 1 else f" (the last of {count} such calls)"
    structlog.get_logger().warning(
        f"{text}{more}",
        **fields | {"MESSAGE_ID": MessageId.ACCESS_DENIED, "REFUSED_CALLS": count},
    )
