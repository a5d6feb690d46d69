#!/usr/bin/python3
"""Prints each container and its state, now and whenever it changes; asks once (GetManagedObjects), then only listens."""

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


def tell(container: Gio.DBusProxy) -> None:
    print(*(container.get_cached_property(name).unpack() for name in ("Id", "State")), flush=True)


for there in manager.get_objects():
    tell(there.get_interface(CONTAINER))
manager.connect("object-added", lambda _, added: tell(added.get_interface(CONTAINER)))
manager.connect(
    "interface-proxy-properties-changed",
    lambda _, __, it, changed, ___: tell(it) if "State" in changed.unpack() else None,
)
GLib.MainLoop().run()
