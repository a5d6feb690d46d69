# SPDX-License-Identifier: Apache-2.0
"""The rules under the key `access`, and what they decide (docs/design.md, Access).

A rule names a user or a group, and what it may do to which containers. A call is allowed if any
rule allows it. Calls that every local user may make are subject to no rule.
"""

import re
from collections.abc import Iterable
from fnmatch import translate
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from ocibridge.model import ID_CHARACTERS, Identity
from ocibridge.names import GROUP
from ocibridge.text import is_number, quoted

EVERYTHING: Final = "*"
CONTROL: Final = "control"
START: Final = "startContainer"
# Methods that mean the same.
ALIASES: Final = {"executeCommand": "execCommand"}
# What `control` allows; and startContainer of a bundle below one of the rule's `bundles`.
CONTROLLING: Final = (
    "stopContainer",
    "pauseContainer",
    "resumeContainer",
    "hibernateContainer",
    "wakeupContainer",
    "getContainerInfo",
    "annotate",
    "removeAnnotation",
)
# What has to be allowed by name or by "*": whoever may do it is as good as root.
ROOTLIKE: Final = (
    START,
    "startContainerFromDobbySpec",
    "execCommand",
    "executeCommand",
    "mount",
    "unmount",
)
JUDGED: Final = (*CONTROLLING, *ROOTLIKE)
# Of users and groups; the highest 32-bit number means "none".
MAX_NUMBER: Final = 2**32 - 1
OPEN: Final = ("listContainers", "getContainerState", "waitForState", "getLastExit")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule. `user` or `group`: a name or a number; exactly one of them is set.

    `methods`: names of methods, "control" or "*". `containers`: patterns as in fnmatch(3), of
    container ids. `bundles`: directories; with "control", bundles below them may be started.
    """

    methods: tuple[str, ...]
    user: str | int | None = None
    group: str | int | None = None
    containers: tuple[str, ...] = (EVERYTHING,)
    bundles: tuple[str, ...] = ()

    def is_for(self, who: Identity) -> bool:
        """Whether the rule names that user or one of its groups."""
        if self.user is not None:
            return is_named(self.user, who.uid, who.user)
        return any(is_named(self.group, gid, name) for gid, name in who.groups)

    @property
    def allowed(self) -> frozenset[str]:
        """The methods that the rule allows with all arguments, under all their names."""
        if EVERYTHING in self.methods:
            return frozenset(JUDGED)
        names = {ALIASES.get(name, name) for name in self.methods}
        if CONTROL in names:
            names.update(CONTROLLING)
        return frozenset(name for name in JUDGED if ALIASES.get(name, name) in names)


class Verdict(NamedTuple):
    """What the rules say of a call.

    `is_allowed`: with any bundle. Otherwise it is allowed for bundles below one of `folders`.
    """

    is_allowed: bool
    folders: tuple[str, ...] = ()


ALLOWED: Final = Verdict(is_allowed=True)
DENIED: Final = Verdict(is_allowed=False)
DEFAULT_RULES: Final = (Rule(methods=(EVERYTHING,), group=GROUP),)


class Rights:
    """What the rules give one user. Prepared once, since each call is judged."""

    def __init__(self, rules: Iterable[Rule], who: Identity) -> None:
        mine = [rule for rule in rules if rule.is_for(who)]
        self._containers = {
            name: Containers([rule for rule in mine if name in rule.allowed]) for name in JUDGED
        }
        self._bundles = [(Containers([rule]), rule.bundles) for rule in mine if rule.bundles]

    def judge(self, method: str, container_id: str) -> Verdict:
        """Whether the user may call that method for that container."""
        if container_id in self._containers[method]:
            return ALLOWED
        if method != START:
            return DENIED
        fitting = [folders for containers, folders in self._bundles if container_id in containers]
        return Verdict(is_allowed=False, folders=tuple(chain.from_iterable(fitting)))

    def has(self, method: str) -> bool:
        """Whether the user may call that method for some container and bundle."""
        return bool(self._containers[method]) or (method == START and bool(self._bundles))


class Containers:
    """The containers that some rules are for."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        patterns = {pattern for rule in rules for pattern in rule.containers}
        self._is_all = EVERYTHING in patterns
        self._matches = re.compile("|".join(map(translate, sorted(patterns)))).match
        self._is_none = not patterns

    def __bool__(self) -> bool:
        return not self._is_none

    def __contains__(self, container_id: str) -> bool:
        """Whether a container is one of them.

        Digits alone are no id. They can only be a descriptor that the mirror does not know, so that
        nobody knows whose it will be: it is in all containers alone.
        """
        if self._is_all or self._is_none:
            return self._is_all
        return not is_number(container_id) and self._matches(container_id) is not None


def missing_rule(who: Identity, method: str, container_id: str) -> str:
    """The rule that would allow the call, as it would be written under `access`.

    Somebody may paste it. So it gives no more than is needed, and repeats nothing that a caller can
    make up: ID and DIRECTORY stand for what the administrator has to decide.
    """
    parts = [f"user: {who.user or who.uid}", f"methods: [{CONTROL if method == START else method}]"]
    if container_id:
        is_id = ID_CHARACTERS.fullmatch(container_id) and not is_number(container_id)
        parts.append(f'containers: ["{container_id if is_id else "ID"}"]')
    if method == START:
        parts.append("bundles: [/DIRECTORY]")
    return f"{{{', '.join(parts)}}}"


def is_named(named: str | int | None, number: int, name: str) -> bool:
    """Whether `named`, a name or a number in a rule, is the one with that number and name."""
    given = _number(named)
    return given == number if given is not None else named == name


def problem_of(rule: Rule) -> str | None:
    """What is wrong with a rule, beginning with the key; None if nothing is."""
    return _problem_of_user(rule) or _problem_of_methods(rule) or _problem_of_lists(rule)


def _problem_of_user(rule: Rule) -> str | None:
    if (rule.user is None) == (rule.group is None):
        return "expected either user or group"
    for key, named in (("user", rule.user), ("group", rule.group)):
        if named == "" or not 0 <= (_number(named) or 0) < MAX_NUMBER:
            return f"{key}: expected a name or a number, got {quoted(str(named))}"
    return None


def _problem_of_methods(rule: Rule) -> str | None:
    for method in rule.methods:
        if method in OPEN:
            return f"methods: every local user may call {method}; no rule changes that"
        if method not in {EVERYTHING, CONTROL, *JUDGED}:
            known = ", ".join(JUDGED)
            return f'methods: expected "*", {CONTROL} or one of {known}, got {quoted(method)}'
    return None if rule.methods else "methods: expected at least one"


def _problem_of_lists(rule: Rule) -> str | None:
    if not rule.containers or "" in rule.containers:
        return "containers: expected patterns of container ids, none of them empty"
    if rule.bundles and CONTROL not in rule.methods:
        return f"bundles: has a meaning only with {CONTROL} in methods"
    for folder in rule.bundles:
        if not folder.startswith("/") or not folder.isprintable():
            return f"bundles: expected absolute paths, got {quoted(folder)}"
    return None


def _number(named: str | int | None) -> int | None:
    """The number that a user or group is given by; None if it is given by name."""
    if isinstance(named, str):
        return int(named) if is_number(named) else None
    return named
