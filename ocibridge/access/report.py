# SPDX-License-Identifier: Apache-2.0
"""What the rules mean, for people: the warnings of --check-config, the answer of --check-access.

They look users, groups and directories up on this machine, as it is now.
"""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ocibridge.access.identity import gid_of, identity_of, uid_of
from ocibridge.access.rules import (
    DEFAULT_RULES,
    EVERYTHING,
    JUDGED,
    OPEN,
    ROOTLIKE,
    START,
    Rights,
    Rule,
    missing_rule,
)
from ocibridge.model import Identity
from ocibridge.names import CALLERS_GROUP, GROUP
from ocibridge.text import quoted

# With these permissions on a directory, others than its owner can make bundles in it.
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class Answer(NamedTuple):
    """Whether a call is allowed, and why, in lines for a terminal."""

    is_allowed: bool
    lines: list[str]


def warnings(rules: tuple[Rule, ...]) -> Iterator[str]:
    """What an administrator should know of valid rules. Those of the default are documented."""
    if rules == DEFAULT_RULES:
        return
    for number, rule in enumerate(rules):
        for warning in (*_rootlike(rule), *_unknown(rule), *_unsafe(rule)):
            yield f"access[{number}]: {warning}"


def _rootlike(rule: Rule) -> Iterator[str]:
    methods = [m for m in rule.methods if m == EVERYTHING or m in ROOTLIKE]
    if methods:
        named = ", ".join(quoted(m) if m == EVERYTHING else m for m in methods)
        yield f"{named}: whoever the rule names is as good as root"


def _unknown(rule: Rule) -> Iterator[str]:
    """Users and groups that do not exist, or that the bus's policy keeps out."""
    if rule.group is not None:
        group = str(rule.group)
        gid = gid_of(group)
        if gid is None:
            yield f"there is no group {quoted(group)}"
        elif gid not in {gid_of(GROUP), gid_of(CALLERS_GROUP)}:
            yield f"members of the group {quoted(group)} have to be in {CALLERS_GROUP} as well"
        return
    user = str(rule.user)
    uid = uid_of(user)
    if uid is None:
        yield f"there is no user {quoted(user)}"
    elif not _passes_the_bus(identity_of(uid)):
        yield f"the user {quoted(user)} {_KEPT_OUT}"


def _unsafe(rule: Rule) -> Iterator[str]:
    """Directories in which others than root can make bundles."""
    for folder in rule.bundles:
        try:
            status = Path(folder).stat()
        except OSError as error:
            yield f"bundles: {folder}: {error.strerror}"
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield f"bundles: {folder}: is not a directory"
        elif status.st_uid != 0 or status.st_mode & WRITABLE_BY_OTHERS:
            yield (
                f"bundles: {folder}: others than root can write to it; "
                "whoever can make a bundle there is as good as root"
            )


_KEPT_OUT = (
    f"is neither in the group {GROUP} nor in {CALLERS_GROUP}, so that the bus's policy, as "
    "installed, does not let it call this"
)


def _passes_the_bus(who: Identity) -> bool:
    return who.uid == 0 or not {GROUP, CALLERS_GROUP}.isdisjoint(name for _, name in who.groups)


def answer(rules: tuple[Rule, ...], user: str, method: str, container_id: str) -> Answer:
    """Whether that user may call that method for that container, and the rule that decides.

    `user`: a name or a number. Without a `container_id` only a rule for all containers allows it.
    Raises ValueError for an unknown user or method.
    """
    uid = uid_of(user)
    if uid is None:
        raise ValueError(f"there is no user {quoted(user)}")
    if method in OPEN:
        return Answer(True, [f"allowed: every local user may call {method}"])
    if method not in JUDGED:
        known = ", ".join((*OPEN, *JUDGED))
        raise ValueError(f"there is no method {quoted(method)}; expected one of {known}")
    who = identity_of(uid)
    if who.uid == 0:
        return Answer(True, ["allowed: root may call everything"])
    but = [] if _passes_the_bus(who) else [f"but {who} {_KEPT_OUT}"]
    verdicts = [Rights((rule,), who).judge(method, container_id) for rule in rules]
    for number, verdict in enumerate(verdicts):
        if verdict.is_allowed:
            return Answer(True, [f"allowed: by {_shown(number, rules[number])}", *but])
    for number, verdict in enumerate(verdicts):
        if verdict.folders:
            where = " or ".join(verdict.folders)
            line = f"allowed: by {_shown(number, rules[number])}, for bundles below {where} alone"
            return Answer(True, [line, *but])
    return Answer(False, _refused(rules, who, method, container_id))


def _refused(rules: tuple[Rule, ...], who: Identity, method: str, container_id: str) -> list[str]:
    return [
        f"refused: no rule allows it; needed: {missing_rule(who, method, container_id)}",
        *(
            f"{_shown(number, rule)} is for {who}, but not for "
            f"{_lack(Rights((rule,), who), method, container_id)}"
            for number, rule in enumerate(rules)
            if rule.is_for(who)
        ),
    ]


def _lack(rights: Rights, method: str, container_id: str) -> str:
    if rights.has(method):
        return f"the container {quoted(container_id)}" if container_id else "all containers"
    return f"{method} (it has no bundles)" if method == START else method


def _shown(number: int, rule: Rule) -> str:
    """A rule as it is written, with its place in the list."""
    whom = f"user: {rule.user}" if rule.group is None else f"group: {rule.group}"
    parts = [whom, f"methods: [{', '.join(map(_word, rule.methods))}]"]
    if rule.containers != (EVERYTHING,):
        parts.append(f"containers: [{', '.join(map(quoted, rule.containers))}]")
    if rule.bundles:
        parts.append(f"bundles: [{', '.join(rule.bundles)}]")
    return f"access[{number}] {{{', '.join(parts)}}}"


def _word(method: str) -> str:
    return quoted(method) if method == EVERYTHING else method
