# SPDX-License-Identifier: Apache-2.0
"""A client in the box. It needs only Debian's python3-gi.

inside.py until PROPERTY VALUE   wait until that property of the manager has the value
inside.py owner UNIQUE-NAME      wait until ocibridge's name has another owner; print it
inside.py deafen                 make unknown calls to Dobby until it answers nobody
inside.py refused COUNT          make that many mutating calls, each refused and logged
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gi.repository import Gio, GLib

BOUND_SECONDS = 30
NAME = "org.rdk.OCIContainer"
NAME_OF_BUS = "org.freedesktop.DBus"
MANAGER = "/org/rdk/OCIContainer"
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


def attempt(path: str, interface: str, member: str, text: str | None, to: str) -> None:
    """Make a call whose reply, mostly an error, does not matter."""
    with suppress(GLib.Error):
        call(path, interface, member, GLib.Variant("(s)", (text,)) if text else None, to)


def deafen() -> None:
    for number in range(60):
        attempt("/org/rdk/dobby", "org.rdk.dobby.ctrl1", f"Unknown{number}", None, "org.rdk.dobby")


def refused(count: str) -> None:
    """Make that many mutating calls, each of which is refused and logged."""
    for _ in range(int(count)):
        attempt(MANAGER, "org.rdk.OCIContainer1", "pauseContainer", "no-such", NAME)


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    commands: dict[str, Callable[..., None]] = {
        "until": until,
        "owner": until_other_owner,
        "deafen": deafen,
        "refused": refused,
    }
    commands[what](*arguments)
