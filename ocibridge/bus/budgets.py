# SPDX-License-Identifier: Apache-2.0
"""What the bus library's answers may cost (docs/sdbus.md, Driving the connection)."""

from collections.abc import Callable
from typing import Final

# The share of our time that the answers to all connections in debt may take.
SHARE: Final = 0.5
# How often (seconds) the connections in debt are counted.
COUNT_SECONDS: Final = 0.02
# Connections whose use is remembered; beyond them the oldest is forgotten.
MAX_ACCOUNTS: Final = 256


class Budgets:
    """How much of our time each connection has used: a token bucket for each, in seconds.

    Connections in debt divide one share and one advance, so that more connections get no more.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._spent: dict[bytes, tuple[float, float]] = {}  # seconds spent, and as of when
        self._debtors = 1
        self._counted_at = 0.0

    def is_spent(self, sender: bytes, advance: float) -> bool:
        """Whether that connection has used up its part of the share and of the advance."""
        if sender not in self._spent:
            return False
        if self._now() - self._counted_at > COUNT_SECONDS:
            self._counted_at = self._now()
            self._debtors = max(1, sum(self._debt(each) > 0 for each in self._spent))
        return self._debt(sender) > advance / self._debtors

    def charge(self, sender: bytes, seconds: float) -> None:
        """Add to what that connection has used."""
        self._spent[sender] = self._debt(sender) + seconds, self._now()
        if len(self._spent) > MAX_ACCOUNTS:
            self._spent.pop(next(iter(self._spent)))

    def _debt(self, sender: bytes) -> float:
        spent, at = self._spent.get(sender, (0.0, self._now()))
        return max(0.0, spent - (self._now() - at) * SHARE / self._debtors)
