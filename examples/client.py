#!/usr/bin/python3
"""Start a container, wait until it has ended, and print why. Usage: client.py ID BUNDLE."""

import sys

from gi.repository import Gio, GLib

NAME, PATH, INTERFACE = "org.rdk.OCIContainer", "/org/rdk/OCIContainer", "org.rdk.OCIContainer1"
bus = Gio.BusType.SESSION  # on a device: SYSTEM
oci = Gio.DBusProxy.new_for_bus_sync(bus, 0, None, NAME, PATH, INTERFACE)
oci.set_default_timeout(GLib.MAXINT)  # the wait may last as long as the container runs
try:
    print("descriptor", oci.startContainer("(ssssas)", *sys.argv[1:3], "", "", []), flush=True)
    oci.waitForState("(sst)", sys.argv[1], "Stopped", 0)  # 0: no limit
    print(oci.getLastExit("(s)", sys.argv[1])["Reason"])
except GLib.Error as error:
    sys.exit(error.message)
