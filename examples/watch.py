#!/usr/bin/python3
"""Print each container and its state, now and at each change: ask once, then only listen."""

from gi.repository import Gio, GLib

CONTAINER = "org.rdk.OCIContainer1.Container"
manager = Gio.DBusObjectManagerClient.new_for_bus_sync(
    Gio.BusType.SESSION,
    Gio.DBusObjectManagerClientFlags.NONE,
    "org.rdk.OCIContainer",
    "/org/rdk/OCIContainer",
    None,
    None,
    None,
)


def show(container: Gio.DBusProxy) -> None:
    print(*(container.get_cached_property(name).unpack() for name in ("Id", "State")), flush=True)


for known in manager.get_objects():
    show(known.get_interface(CONTAINER))
manager.connect("object-added", lambda _, added: show(added.get_interface(CONTAINER)))
manager.connect(
    "interface-proxy-properties-changed",
    lambda _, __, it, changed, ___: show(it) if "State" in changed.unpack() else None,
)
GLib.MainLoop().run()
