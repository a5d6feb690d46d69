"""Which calls may be under way at once: decided when they arrive, so that no caller can keep others waiting (design 11).

Reads and waits are open to every local user, so they are counted for each user, over all of the user's connections, and
all together. Calls that change something are not: only trusted callers may make them.
"""

from collections import Counter
from typing import Final, TypeVar

from ocibridge.api.call import Call, Member
from ocibridge.api.callers import Callers
from ocibridge.config.schema import Settings
from ocibridge.errors import LimitsExceeded
from ocibridge.model import UNKNOWN_UID, Caller

T = TypeVar("T")

# Reads of all callers together, and waits likewise: what bounds the memory.
MAX_UNDER_WAY: Final = 1024
# Of these, how many only root and the group may have.
RESERVED: Final = 128
# Reads and waits of all connections whose user the bus has not told yet.
MAX_UNKNOWN: Final = 256


def is_open_to_all(member: Member) -> bool:
    """Neither changes anything nor asks by whom: every local user may call it."""
    return not (member.changes or member.needs_caller)


class Admission:
    """Counts what is under way. `admit` and `leave` frame each call."""

    def __init__(self, callers: Callers, settings: Settings) -> None:
        self._callers = callers
        self._settings = settings
        self._by_sender: Counter[str] = Counter()
        self._open = {False: 0, True: 0}  # reads and, under True, waits
        self._of_user: Counter[int] = Counter()
        self._of_caller: Counter[Caller] = Counter()  # of users that are not known yet

    def admit(self, call: Call) -> None:
        """Count the call. Raises LimitsExceeded where there is no place for it; it is not counted then."""
        most = self._settings.now.limits.per_caller
        if self._by_sender[call.sender] >= most:
            raise _too_many(
                call,
                f"{most} calls of yours are under way already (limits.per_caller); await one first",
            )
        if is_open_to_all(call.member):
            call.caller = self._callers.meet(call.sender)
            self._check_user(call, call.caller)
            self._open[call.member.waits] += 1
            self._enter_user(call.caller)
        self._by_sender[call.sender] += 1
        call.is_counted = True

    def leave(self, call: Call) -> None:
        """The call is over, admitted or not."""
        if not call.is_counted:
            return
        call.is_counted = False
        _decrease(self._by_sender, call.sender)
        if is_open_to_all(call.member) and call.caller is not None:
            self._open[call.member.waits] -= 1
            if call.caller in self._of_caller:
                _decrease(self._of_caller, call.caller)
                _decrease(self._of_user, UNKNOWN_UID)
            else:
                _decrease(self._of_user, call.caller.uid)

    def check_stay(self, call: Call) -> None:
        """The user of a wait is known by now, which was not so at its arrival. Raises LimitsExceeded; it has left then."""
        if (
            call.caller is not None
            and self._of_user[call.caller.uid] > self._settings.now.limits.per_user
        ):
            self.leave(
                call
            )  # at once, so that of several such waits no more than necessary are refused
            raise self._too_many_of_user(call, call.caller)

    def _check_user(self, call: Call, caller: Caller) -> None:
        is_known = caller.uid != UNKNOWN_UID
        most = MAX_UNDER_WAY if caller.is_privileged or not is_known else MAX_UNDER_WAY - RESERVED
        if is_known and self._of_user[caller.uid] >= self._settings.now.limits.per_user:
            raise self._too_many_of_user(call, caller)
        unknown_full = not is_known and self._of_user[UNKNOWN_UID] >= MAX_UNKNOWN
        if unknown_full or self._open[call.member.waits] >= most:
            raise _too_many(
                call,
                f"too many {'waits' if call.member.waits else 'reads'} are under way already; try again later",
            )

    def _enter_user(self, caller: Caller) -> None:
        self._of_user[caller.uid] += 1
        if caller.uid == UNKNOWN_UID:
            if caller not in self._of_caller:
                self._callers.when_known(caller, self._move)
            self._of_caller[caller] += 1

    def _move(self, caller: Caller) -> None:
        """The bus has told the user of a connection: its calls count for that user from now on."""
        count = self._of_caller.pop(caller, 0)
        self._of_user[UNKNOWN_UID] -= count
        self._of_user[caller.uid] += count

    def _too_many_of_user(self, call: Call, caller: Caller) -> LimitsExceeded:
        most = self._settings.now.limits.per_user
        return _too_many(
            call,
            f"{most} reads and waits of user {caller.uid} are under way already (limits.per_user); await one first",
        )


def _too_many(call: Call, text: str) -> LimitsExceeded:
    return LimitsExceeded(f"{call.member.name}: {text}")


def _decrease(counter: Counter[T], key: T) -> None:
    """By one; what is zero is forgotten."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
