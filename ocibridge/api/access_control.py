# SPDX-License-Identifier: Apache-2.0
"""Judges calls by the rules of the key `access` (docs/design.md, Access).

The bus's policy is the first wall. Some buses allow everybody everything, so this is the second.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ocibridge.access.rules import Rights, Rule, missing_rule
from ocibridge.api.call import Call
from ocibridge.api.callers import Callers
from ocibridge.api.methods import CONTAINER_ID
from ocibridge.config.schema import Settings
from ocibridge.errors import AccessDenied, LimitsExceeded
from ocibridge.files import Readers
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import UNKNOWN_UID, Identity
from ocibridge.text import quoted

BUNDLE_PATH: Final = "bundlePath"
# Users, with their groups, whose rights are remembered.
MAX_REMEMBERED: Final = 64


class AccessControl:
    """Decides which callers may make which calls.

    `is_system_bus`: there, root alone may always do everything; on any other bus, so may the
    daemon's own user.
    """

    def __init__(
        self, callers: Callers, mirror: Mirror, settings: Settings, *, is_system_bus: bool
    ) -> None:
        self._callers = callers
        self._mirror = mirror
        self._settings = settings
        self._readers = Readers("looks at bundle paths")
        self._always = {0} if is_system_bus else {0, os.getuid()}
        self._rules: tuple[Rule, ...] = ()
        self._rights: dict[Identity, Rights] = {}  # by these rules

    async def identify(self, call: Call) -> None:
        """Have the caller's names looked up, unless it may do everything. Raises LimitsExceeded."""
        caller = call.caller
        if caller is None or caller.identity is not None or self._is_free(call):
            return
        if caller.uid == UNKNOWN_UID:
            return
        try:
            await self._callers.identify(caller)
        except OSError as error:
            raise LimitsExceeded(
                f"{call.spec.name}: not done: the user with uid {caller.uid} cannot be looked up "
                f"now: {error.strerror}; try again later"
            ) from None

    async def check(self, call: Call) -> None:
        """Raise AccessDenied unless a rule allows the call, of an identified caller.

        What was judged is what is done: a descriptor is replaced by its container, and the path of
        a bundle, if it had to be resolved, by the resolved one. Raises LimitsExceeded.
        """
        if self._is_free(call):
            return
        who = _identity(call)
        if who is None:
            raise AccessDenied(f"{call.spec.name}: not done: the caller could not be identified")
        container_id = self._judged_id(call)
        verdict = self._rights_of(who).judge(call.spec.judged_as, container_id)
        if verdict.folders and not verdict.is_allowed:
            await self._check_bundle(call, who, verdict.folders)
        elif not verdict.is_allowed:
            raise denied(call, who, container_id)

    def check_method(self, call: Call) -> None:
        """Raise AccessDenied if no rule allows the caller that method, whatever the arguments."""
        who = self.outsider(call)
        if who is not None:
            raise denied(call, who, "")

    def outsider(self, call: Call) -> Identity | None:
        """Who calls, if that is known, and known to have no rule for the method."""
        who = None if self._is_free(call) else _identity(call)
        return None if who is None or self._rights_of(who).has(call.spec.judged_as) else who

    def _rights_of(self, who: Identity) -> Rights:
        if self._rules is not self._settings.now.access:  # reloaded
            self._rules = self._settings.now.access
            self._rights.clear()
        rights = self._rights.get(who)
        if rights is None:
            if len(self._rights) >= MAX_REMEMBERED:
                self._rights.clear()
            rights = self._rights[who] = Rights(self._rules, who)
        return rights

    def _is_free(self, call: Call) -> bool:
        return not call.spec.judged_as or (
            call.caller is not None and call.caller.uid in self._always
        )

    def _judged_id(self, call: Call) -> str:
        """The id that the call is about, as far as the mirror knows; otherwise the text given.

        A descriptor that the mirror knows is replaced by its container in the arguments: later it
        might be another container's.
        """
        if call.container is not None:
            return call.container.id
        if CONTAINER_ID not in call.spec.arguments:
            return ""
        text: str = call.arguments[0]
        container = None if call.spec.creates else self._mirror.find(text)
        if container is None or container.id == text:
            return text
        call.arguments = (container, *call.arguments[1:])
        return container.id

    async def _check_bundle(self, call: Call, who: Identity, folders: tuple[str, ...]) -> None:
        """Replace the bundle's path by the resolved one, which has to be below one of `folders`."""
        at = list(call.spec.arguments).index(BUNDLE_PATH)
        path: str = call.arguments[at]
        try:
            resolved = await self._readers.run(lambda: _resolved_below(path, folders))
        except OSError as error:
            raise denied(
                call, who, call.subject, f"{quoted(path)} cannot be resolved: {error.strerror}"
            ) from None
        if resolved is None:
            where = " or ".join(map(quoted, folders))
            raise denied(call, who, call.subject, f"{quoted(path)} is not below {where}")
        call.arguments = (*call.arguments[:at], resolved, *call.arguments[at + 1 :])


def _identity(call: Call) -> Identity | None:
    return None if call.caller is None else call.caller.identity


def denied(call: Call, who: Identity, container_id: str, reason: str = "") -> AccessDenied:
    """The refusal of a call, with the rule that would allow it.

    `reason`: why its bundle is not one of those that it may start, if it may start any.
    """
    rule = missing_rule(who, call.spec.judged_as, container_id)
    of = f" of {quoted(container_id)}" if container_id else ""
    why = f"; {BUNDLE_PATH} {reason}" if reason else ""
    return AccessDenied(
        f"{call.spec.name}{of}: not done: no rule allows it to {who}{why}; it needs one under "
        f"access in ocibridge.yaml(5), such as {rule}",
        rule,
    )


def _resolved_below(path: str, folders: Iterable[str]) -> str | None:
    """The resolved path if it is below one of `folders`, resolved as well. Raises OSError."""
    if not path.startswith("/") or "\0" in path:
        return None
    resolved = os.path.realpath(path, strict=True)
    parents = set(map(str, Path(resolved).parents))
    return resolved if any(os.path.realpath(folder) in parents for folder in folders) else None
