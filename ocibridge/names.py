# SPDX-License-Identifier: Apache-2.0
"""Every name on the bus, spelled once (docs/design.md, Names)."""

from typing import Final

# Our own side. The bus name is the document's callsign, so it can be configured.
CALLSIGN: Final = "org.rdk.OCIContainer"
OBJECT_PATH: Final = "/org/rdk/OCIContainer"
INTERFACE: Final = "org.rdk.OCIContainer1"
ERROR_PREFIX: Final = f"{INTERFACE}.Error"
# One object for each container below this path; the id is escaped as by sd_bus_path_encode(3).
CONTAINER_PATH: Final = f"{OBJECT_PATH}/container"
CONTAINER_INTERFACE: Final = f"{INTERFACE}.Container"

JSON_RPC_INTERFACE: Final = f"{INTERFACE}.JsonRpc"

# Dobby's side. Both can be changed when Dobby is built; its interfaces follow the service name.
DOBBY_SERVICE: Final = "org.rdk.dobby"
DOBBY_OBJECT: Final = "/org/rdk/dobby"

# Interfaces that any service may have.
LOG_CONTROL: Final = "org.freedesktop.LogControl1"
LOG_CONTROL_PATH: Final = "/org/freedesktop/LogControl1"

# The bus driver's.
DRIVER: Final = "org.freedesktop.DBus"
DRIVER_PATH: Final = "/org/freedesktop/DBus"
LOCAL_INTERFACE: Final = "org.freedesktop.DBus.Local"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER: Final = "org.freedesktop.DBus.ObjectManager"
STANDARD_ERROR_PREFIX: Final = "org.freedesktop.DBus.Error"

# The bus's policy lets the members of these groups call everything. Our own default rule allows the
# members of the first all of it; those of the second need rules of their own.
GROUP: Final = "ocibridge"
CALLERS_GROUP: Final = "ocibridge-callers"

# Our identifier in the journal.
IDENTIFIER: Final = "ocibridge"
