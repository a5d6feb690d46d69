# SPDX-License-Identifier: Apache-2.0
"""Names of users and groups, from the name service switch (nsswitch.conf(5)).

These functions may block, as long as a service behind the switch needs.
"""

import grp
import os
import pwd
from collections.abc import Iterable

from ocibridge.model import Identity
from ocibridge.text import is_number


def identity_of(uid: int, gids: Iterable[int] | None = None) -> Identity:
    """The user with that number, with the groups `gids`; by default, those it would log in with.

    Raises OSError if the name service fails.
    """
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Identity(uid, "", _named(gids or ()))
    if gids is None:
        gids = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return Identity(uid, entry.pw_name, _named(gids))


def uid_of(user: str) -> int | None:
    """The number of a user, given by name or number; None if there is no user of that name."""
    if is_number(user):
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def gid_of(group: str) -> int | None:
    """The number of a group, given by name or number; None if there is no group of that name."""
    if is_number(group):
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None


def _named(gids: Iterable[int]) -> tuple[tuple[int, str], ...]:
    return tuple((gid, _group_name(gid)) for gid in gids)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""
