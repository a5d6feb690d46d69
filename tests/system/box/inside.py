# SPDX-License-Identifier: Apache-2.0
"""A client in the box. It needs only Debian's python3-gi.

inside.py until PROPERTY VALUE   wait until that property of the manager has the value
inside.py owner UNIQUE-NAME      wait until ocibridge's name has another owner; print it
inside.py try                    call every member; print the outcome of each, as JSON
inside.py own                    request ocibridge's name; print the outcome
inside.py deafen                 make unknown calls to Dobby until it answers nobody
inside.py refused COUNT          make that many mutating calls, each refused and logged
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from gi.repository import Gio, GLib

BOUND_SECONDS = 30
NAME = "org.rdk.OCIContainer"
NAME_OF_BUS = "org.freedesktop.DBus"
MANAGER = "/org/rdk/OCIContainer"
LOG_CONTROL = "/org/freedesktop/LogControl1"
INTERFACES = Path("/usr/share/dbus-1/interfaces")
# Harmless if they get through: the container does not exist, or the value is invalid.
ARGUMENTS = {"s": "no-such", "b": False, "t": 1, "as": [], "i": 0}
MILLISECONDS = 10_000

bus = Gio.bus_get_sync(Gio.BusType.SYSTEM, None)


def call(
    path: str, interface: str, member: str, arguments: GLib.Variant | None = None, to: str = NAME
) -> Any:
    return bus.call_sync(
        to,
        path,
        interface,
        member,
        arguments,
        None,
        Gio.DBusCallFlags.NO_AUTO_START,
        MILLISECONDS,
        None,
    ).unpack()


def wait(holds: Callable[[], bool]) -> None:
    """Until the condition holds. Checked now, and after each signal of ocibridge or its name."""
    loop = GLib.MainLoop()

    def look(*_: Any) -> None:
        if holds():
            loop.quit()

    bus.signal_subscribe(
        None, "org.freedesktop.DBus.Properties", None, MANAGER, None, Gio.DBusSignalFlags.NONE, look
    )
    bus.signal_subscribe(
        "org.freedesktop.DBus", None, "NameOwnerChanged", None, NAME, Gio.DBusSignalFlags.NONE, look
    )
    GLib.timeout_add_seconds(BOUND_SECONDS, lambda: sys.exit(f"not so within {BOUND_SECONDS} s"))
    GLib.idle_add(look)
    if not holds():
        loop.run()


def owner() -> str:
    try:
        return str(
            call(
                "/org/freedesktop/DBus",
                "org.freedesktop.DBus",
                "GetNameOwner",
                GLib.Variant("(s)", (NAME,)),
                NAME_OF_BUS,
            )[0]
        )
    except GLib.Error:
        return ""


def until(name: str, value: str) -> None:
    def holds() -> bool:
        try:
            found = call(
                MANAGER,
                "org.freedesktop.DBus.Properties",
                "Get",
                GLib.Variant("(ss)", ("org.rdk.OCIContainer1", name)),
            )
        except GLib.Error:
            return False
        return str(found[0]).lower() == value.lower()

    wait(holds)


def until_other_owner(former: str) -> None:
    wait(lambda: owner() not in {"", former})
    print(owner())


def outcome(
    path: str, interface: str, member: str, signature: str = "", *arguments: Any, to: str = NAME
) -> str:
    """Either "refused" by the bus, or "reached", whatever the reply."""
    try:
        call(
            path,
            interface,
            member,
            GLib.Variant(f"({signature})", arguments) if signature else None,
            to,
        )
    except GLib.Error as error:
        name = Gio.DBusError.get_remote_error(error) or str(error)
        if name == "org.freedesktop.DBus.Error.AccessDenied":
            return "refused"
        return (
            "reached"
            if name.startswith(("org.rdk.OCIContainer1.Error.", "org.freedesktop.DBus.Error."))
            else name
        )
    return "reached"


def members_of(interface: str, path: str) -> dict[str, str]:
    """The outcome of each method of an interface, as listed in its XML."""
    found = {}
    for method in ET.parse(INTERFACES / f"{interface}.xml").iter("method"):
        types = [
            argument.get("type", "")
            for argument in method.iter("arg")
            if argument.get("direction") == "in"
        ]
        found[f"{interface}.{method.get('name')}"] = outcome(
            path,
            interface,
            method.get("name", ""),
            "".join(types),
            *(ARGUMENTS[each] for each in types),
        )
    return found


def standard_members() -> dict[str, str]:
    properties = "org.freedesktop.DBus.Properties"
    log = "org.freedesktop.LogControl1"
    return {
        "Introspect": outcome(MANAGER, "org.freedesktop.DBus.Introspectable", "Introspect"),
        "Ping": outcome(MANAGER, "org.freedesktop.DBus.Peer", "Ping"),
        "GetMachineId": outcome(MANAGER, "org.freedesktop.DBus.Peer", "GetMachineId"),
        "GetManagedObjects": outcome(
            MANAGER, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"
        ),
        "GetAll": outcome(MANAGER, properties, "GetAll", "s", "org.rdk.OCIContainer1"),
        "GetAll LogControl1": outcome(LOG_CONTROL, properties, "GetAll", "s", log),
        **{
            f"Get {name}": outcome(MANAGER, properties, "Get", "ss", "org.rdk.OCIContainer1", name)
            for name in ("Version", "DobbyAvailable", "DobbyStatus", "ContainerCount")
        },
        "Set DobbyStatus": outcome(
            MANAGER,
            properties,
            "Set",
            "ssv",
            "org.rdk.OCIContainer1",
            "DobbyStatus",
            GLib.Variant("s", "x"),
        ),
        "Set LogLevel": outcome(
            LOG_CONTROL, properties, "Set", "ssv", log, "LogLevel", GLib.Variant("s", "debug")
        ),
        "Set LogTarget": outcome(
            LOG_CONTROL, properties, "Set", "ssv", log, "LogTarget", GLib.Variant("s", "journal")
        ),
        "no interface": outcome(MANAGER, "org.example.Nothing", "nothing"),
        "by the unique name": outcome(
            MANAGER, "org.rdk.OCIContainer1", "pauseContainer", "s", "no-such", to=owner()
        ),
    }


def own() -> None:
    try:
        code = call(
            "/org/freedesktop/DBus",
            NAME_OF_BUS,
            "RequestName",
            GLib.Variant("(su)", (NAME, 4)),
            NAME_OF_BUS,
        )[0]
    except GLib.Error:
        print("refused")
    else:
        print({1: "owned", 3: "taken"}[code])


def try_all() -> None:
    manager, container = (f"org.rdk.OCIContainer1{word}" for word in ("", ".Container"))
    found = {
        "sender": bus.get_unique_name(),
        **members_of(manager, MANAGER),
        **members_of(f"{manager}.JsonRpc", MANAGER),
        **members_of(container, f"{MANAGER}/container/no_2dsuch"),
        **standard_members(),
        "Dobby": outcome("/org/rdk/dobby", "org.rdk.dobby.admin1", "Ping", to="org.rdk.dobby"),
    }
    print(json.dumps(found))


def deafen() -> None:
    for number in range(60):
        outcome("/org/rdk/dobby", "org.rdk.dobby.ctrl1", f"Unknown{number}", to="org.rdk.dobby")


def refused(count: str) -> None:
    """Make that many mutating calls, each of which is refused and logged."""
    for _ in range(int(count)):
        outcome(MANAGER, "org.rdk.OCIContainer1", "pauseContainer", "s", "no-such")


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    commands: dict[str, Callable[..., None]] = {
        "until": until,
        "owner": until_other_owner,
        "try": try_all,
        "own": own,
        "deafen": deafen,
        "refused": refused,
    }
    commands[what](*arguments)
