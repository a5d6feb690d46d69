# SPDX-License-Identifier: Apache-2.0
"""The journal entries of calls that access control refuses (docs/design.md, Access).

There is one entry for a user and a method in PERIOD_SECONDS, with the number of calls. Otherwise
any user could push all other entries out of the journal.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from ocibridge.systemd.message_ids import MessageId

PERIOD_SECONDS: Final = 10.0
# Users and methods that are told apart at one time. A user with many uids (user_namespaces(7)) can
# use no more memory.
MAX_TALLIES: Final = 256
OTHERS: Final = (-1, "")


@dataclass(slots=True)
class _Tally:
    """What has not been logged yet for one user and method: the number, and the last of them."""

    count: int = 0
    text: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


class Refusals:
    """Logs refused calls: the first at once, then their number when the period is over."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[int, str], tuple[_Tally, asyncio.TimerHandle]] = {}

    def add(self, uid: int, method: str, text: str, fields: dict[str, Any]) -> None:
        """Count a refusal. `text` and `fields`: of its journal entry."""
        key = (uid, method)
        if key not in self._tallies and len(self._tallies) >= MAX_TALLIES:
            key = OTHERS
        if key in self._tallies:
            tally, _ = self._tallies[key]
            tally.count += 1
            tally.text, tally.fields = text, fields
        else:
            _log(_Tally(1, text, fields))
            self._begin_period(key)

    def end(self) -> None:
        """Log what has not been logged yet."""
        for tally, timer in self._tallies.values():
            timer.cancel()
            if tally.count:
                _log(tally)
        self._tallies.clear()

    def _begin_period(self, key: tuple[int, str]) -> None:
        timer = asyncio.get_running_loop().call_later(PERIOD_SECONDS, self._end_period, key)
        self._tallies[key] = _Tally(), timer

    def _end_period(self, key: tuple[int, str]) -> None:
        tally, _ = self._tallies.pop(key)
        if tally.count:
            _log(tally)
            self._begin_period(key)


def _log(tally: _Tally) -> None:
    more = "" if tally.count == 1 else f" (the last of {tally.count} such calls)"
    structlog.get_logger().warning(
        f"{tally.text}{more}",
        **tally.fields | {"MESSAGE_ID": MessageId.ACCESS_DENIED, "REFUSED_CALLS": tally.count},
    )
