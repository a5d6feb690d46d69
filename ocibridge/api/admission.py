# SPDX-License-Identifier: Apache-2.0
"""Which calls may be in flight at once (docs/design.md, Floods).

Decided on arrival, so that no caller delays others. Reads and waits are counted for each user, over
all connections of that user, and for all users together. Mutating calls are exempt from that: the
rules of the key `access` decide who may make them.
"""

from collections import Counter
from typing import Final, TypeVar

from ocibridge.api.call import Call
from ocibridge.api.callers import Callers
from ocibridge.config.schema import Settings
from ocibridge.errors import LimitsExceeded
from ocibridge.model import UNKNOWN_UID, Caller

T = TypeVar("T")

# Reads of all callers together, and waits likewise; this bounds the memory.
MAX_UNDER_WAY: Final = 1024
# How many of these are kept for root and the group.
RESERVED: Final = 128
# Reads of all connections whose user is not known yet, and waits likewise: apart, so that waits of
# new connections do not keep others from their first read.
MAX_UNKNOWN: Final = 256


class Admission:
    """Counts the calls in flight. `admit` begins a call, `leave` ends it."""

    def __init__(self, callers: Callers, settings: Settings) -> None:
        self._callers = callers
        self._settings = settings
        self._by_sender: Counter[str] = Counter()
        self._open = {False: 0, True: 0}  # reads and, under True, waits
        self._of_user: Counter[int] = Counter()
        # Of users that are not known yet: by kind, and by connection and kind.
        self._unknown = {False: 0, True: 0}
        self._of_caller: Counter[tuple[Caller, bool]] = Counter()

    def admit(self, call: Call) -> None:
        """Count the call. Raises LimitsExceeded, without counting it, if there is no place."""
        most = self._settings.now.limits.per_caller
        if self._by_sender[call.sender] >= most:
            raise _too_many(
                call,
                f"{most} calls of yours are under way already (limits.per_caller); await one first",
            )
        if call.spec.reads_only:
            call.caller = self._callers.meet(call.sender)
            self._check_user(call, call.caller)
            self._open[call.spec.long_running] += 1
            self._enter_user(call.caller, call.spec.long_running)
        self._by_sender[call.sender] += 1
        call.is_counted = True

    def leave(self, call: Call) -> None:
        """End a call, whether or not it was admitted."""
        if not call.is_counted:
            return
        call.is_counted = False
        _decrease(self._by_sender, call.sender)
        if call.spec.reads_only and call.caller is not None:
            self._open[call.spec.long_running] -= 1
            key = call.caller, call.spec.long_running
            if key in self._of_caller:
                _decrease(self._of_caller, key)
                self._unknown[call.spec.long_running] -= 1
            else:
                _decrease(self._of_user, call.caller.uid)

    def check_stay(self, call: Call) -> None:
        """Check a wait again, now that its user is known.

        Raises LimitsExceeded, with the call no longer counted, if it is beyond the user's limit.
        """
        if (
            call.caller is not None
            and self._of_user[call.caller.uid] > self._settings.now.limits.per_user
        ):
            self.leave(call)  # now, so that of several such waits only the surplus is refused
            raise self._too_many_of_user(call, call.caller)

    def _check_user(self, call: Call, caller: Caller) -> None:
        is_known = caller.uid != UNKNOWN_UID
        most = MAX_UNDER_WAY if caller.is_privileged or not is_known else MAX_UNDER_WAY - RESERVED
        if is_known and self._of_user[caller.uid] >= self._settings.now.limits.per_user:
            raise self._too_many_of_user(call, caller)
        unknown_full = not is_known and self._unknown[call.spec.long_running] >= MAX_UNKNOWN
        if unknown_full or self._open[call.spec.long_running] >= most:
            raise _too_many(
                call,
                f"too many {'waits' if call.spec.long_running else 'reads'} are under way already; "
                "try again later",
            )

    def _enter_user(self, caller: Caller, long_running: bool) -> None:
        if caller.uid != UNKNOWN_UID:
            self._of_user[caller.uid] += 1
            return
        self._callers.when_known(caller, self._move)
        self._unknown[long_running] += 1
        self._of_caller[caller, long_running] += 1

    def _move(self, caller: Caller) -> None:
        """Count the calls of a connection for its user, which the bus has just told."""
        for long_running in (False, True):
            count = self._of_caller.pop((caller, long_running), 0)
            self._unknown[long_running] -= count
            self._of_user[caller.uid] += count

    def _too_many_of_user(self, call: Call, caller: Caller) -> LimitsExceeded:
        most = self._settings.now.limits.per_user
        return _too_many(
            call,
            f"{most} reads and waits of user {caller.uid} are under way already "
            "(limits.per_user); await one first",
        )


def _too_many(call: Call, text: str) -> LimitsExceeded:
    return LimitsExceeded(f"{call.spec.name}: {text}")


def _decrease(counter: Counter[T], key: T) -> None:
    """Decrease by one; drop the key at zero."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
