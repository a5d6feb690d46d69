# SPDX-License-Identifier: Apache-2.0
"""What was judged is what is done, and who is subject to no rule (docs/design.md, The rules)."""

import os
from typing import Any

import pytest

from ocibridge.access.rules import Rule
from ocibridge.api.access_control import AccessControl
from ocibridge.api.call import Call
from ocibridge.api.methods import MethodSpec
from ocibridge.config.schema import Config, Settings, is_system_bus
from ocibridge.errors import AccessDenied
from ocibridge.model import UNKNOWN_UID, Caller, Container, Identity

NOTHING: Any = None
STOP = MethodSpec(
    "stopContainer", NOTHING, {"containerId": "s", "force": "b"}, judged_as="stopContainer"
)
LAUNCHER = Identity(1001, "launcher")
RULES = (Rule(methods=("control",), user="launcher", containers=("com.example.*",)),)


class Mirror:
    """Has one container, which has the descriptor 91."""

    def __init__(self, container_id: str) -> None:
        self.container: Any = Container.__new__(Container)
        self.container.id = container_id
        self.container.descriptor = 91

    def find(self, text: str) -> Any:
        return self.container if text in {"91", self.container.id} else None


def access(mirror: Any, *, is_system: bool = True) -> AccessControl:
    return AccessControl(NOTHING, mirror, Settings(Config(access=RULES)), is_system_bus=is_system)


def call_of(text: str, uid: int = 1001, who: Identity | None = LAUNCHER) -> Call:
    call = Call(STOP, ":1.1", caller=Caller(":1.1", uid, identity=who))
    call.arguments = (text, False)
    return call


async def test_a_descriptor_becomes_its_container() -> None:
    """By the time of the call, another container might have it."""
    mirror = Mirror("com.example.a")
    call = call_of("91")
    await access(mirror).check(call)
    assert call.arguments == (mirror.container, False)


@pytest.mark.parametrize("text", ["com.example.a", "com.example.z"])
async def test_an_id_stays_an_id(text: str) -> None:
    call = call_of(text)
    await access(Mirror("com.example.a")).check(call)
    assert call.arguments == (text, False)


@pytest.mark.parametrize(("uid", "is_system"), [(0, True), (0, False), (os.getuid(), False)])
async def test_who_may_do_everything(uid: int, is_system: bool) -> None:
    await access(Mirror("other"), is_system=is_system).check(call_of("other", uid, None))


async def test_on_the_system_bus_the_own_user_is_one_like_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1002)
    own = Identity(1002, "ocibridge")
    await access(Mirror("other"), is_system=False).check(call_of("other", 1002, own))
    with pytest.raises(AccessDenied):
        await access(Mirror("other")).check(call_of("other", 1002, own))


async def test_who_has_left_is_not_looked_up() -> None:
    await access(Mirror("other")).identify(call_of("other", UNKNOWN_UID, None))


@pytest.mark.parametrize("caller", [None, Caller(":1.1"), Caller(":1.1", 1001)])
async def test_who_is_not_identified_may_do_nothing(caller: Caller | None) -> None:
    call = call_of("com.example.a")
    call.caller = caller
    with pytest.raises(AccessDenied):
        await access(Mirror("com.example.a")).check(call)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("system", True),
        ("session", False),
        ("unix:path=/run/dbus/system_bus_socket", True),
        ("unix:path=/var/run/dbus/system_bus_socket", True),
        ("unix:path=/run/other", True),
        ("unix:path=/run/user/0/bus", False),
    ],
)
def test_the_system_bus(where: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/other")
    assert is_system_bus(where) == expected
