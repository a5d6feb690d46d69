# SPDX-License-Identifier: Apache-2.0
"""The two walls of docs/design.md, Access, for tests: users, kinds of buses, rules, and trials."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.system.conftest import CALL, Box

MANAGER = "org.rdk.OCIContainer1"
PATH = "/org/rdk/OCIContainer"
PROGRAM = "cd /src && exec python3 -m tests.system.box.access"
MOCK = "busctl --json=short call org.rdk.dobby /org/rdk/dobby org.freedesktop.DBus.Mock"

# Two buses with our policy, and one without.
STOCK, ALLOW_ALL, BARE = "stock", "allow-all", "bare"
SYSTEM_CONF = "/usr/share/dbus-1/system.conf"
POLICY = "/usr/share/dbus-1/system.d/org.rdk.OCIContainer.conf"
# What dbus_rdk_system_configuration.patch of RDK's meta-rdk-oss-reference does.
LIKE_RDK = (
    f'cp -p {SYSTEM_CONF} /root; sed -i \'s|<deny own="\\*"/>|<allow own="*"/>|; '
    f's|<deny send_type="method_call"/>|<allow send_type="method_call"/>|\' {SYSTEM_CONF}; '
    f"! cmp -s {SYSTEM_CONF} /root/system.conf"
)
CHANGES = {STOCK: "true", ALLOW_ALL: LIKE_RDK, BARE: f"{LIKE_RDK} && mv {POLICY} /root"}

LAUNCHER_RULE = (
    "{user: launcher, methods: [control], containers: ['com.example.*'], bundles: [/opt/apps]}"
)
RULES = f"access: [{{group: ocibridge, methods: ['*']}}, {LAUNCHER_RULE}]"


@contextmanager
def bus_like(box: Box, kind: str) -> Iterator[None]:
    """The box's bus as on that kind of system; restored afterwards."""
    try:
        box.run(f"{CHANGES[kind]} && systemctl reload dbus")
        yield
    finally:
        box.run(f"""
            [ ! -e /root/system.conf ] || mv /root/system.conf {SYSTEM_CONF}
            [ -e {POLICY} ] || mv /root/org.rdk.OCIContainer.conf {POLICY}
            systemctl reload dbus
        """)


def configure(box: Box, text: str) -> None:
    """Reload ocibridge with that configuration."""
    box.run(
        f"mkdir -p /etc/ocibridge; echo {shlex.quote(text)} >/etc/ocibridge/ocibridge.yaml; "
        "systemctl reload ocibridge"
    )


def tried(box: Box, user: str, container_id: str, destination: str = "") -> dict[str, str]:
    """The outcome of each member, called by that user (tests/system/box/access.py)."""
    found: dict[str, str] = json.loads(box.run(f"{PROGRAM} try {container_id} {destination}", user))
    return found


def outcomes(box: Box, user: str, *calls: tuple[Any, ...]) -> list[tuple[str, Any]]:
    """The outcome and the result, or error text, of each call.

    A call of the manager is its method, signature and arguments. One of another object or interface
    is its path, interface, method, signature and arguments.
    """
    whole = [
        [*each[:4], each[4:]] if each[0].startswith("/") else [PATH, MANAGER, *each[:2], each[2:]]
        for each in calls
    ]
    found = json.loads(box.run(f"{PROGRAM} calls {shlex.quote(json.dumps(whole))}", user))
    return [(outcome, content) for outcome, content in found]


def reach(box: Box, user: str) -> dict[str, str]:
    """What comes of requesting the names of ocibridge and Dobby, and of a call of Dobby."""
    found: dict[str, str] = json.loads(box.run(f"{PROGRAM} reach", user))
    return found


def report(box: Box) -> dict[str, Any]:
    """What the fake Dobby has seen."""
    return reported(box.run(f"{MOCK} Report"))


def reported(output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.loads(output)["data"][0])
    return found


def changing(calls: dict[str, int]) -> dict[str, int]:
    """Dobby's calls without those that reads, the sweep and the check of its health make."""
    others = {"List", "GetState", "Ping"}
    return {method: count for method, count in calls.items() if method not in others}


def snapshot(box: Box, *first: str) -> tuple[dict[str, int], str]:
    """How often Dobby was told to change something, and all containers with their properties.

    `first`: commands that are run before. One command is quicker than several.
    """
    objects = f"{PATH} org.freedesktop.DBus.ObjectManager GetManagedObjects"
    commands = (*first, f"{MOCK} Report", f"busctl call org.rdk.OCIContainer {objects}")
    output = box.run(" && ".join(commands)).splitlines()
    return changing(reported(output[-2])["calls"]), output[-1]


def two_containers(container_id: str) -> tuple[str, str]:
    """The commands that start what `tried` needs."""
    first, second = (
        f'{CALL} startContainer ssssas {name} /opt/bundles/sleep "" "" 0'
        for name in (container_id, f"{container_id}.object")
    )
    return first, second
