# SPDX-License-Identifier: Apache-2.0
"""`make run`: a private bus, the fake Dobby and ocibridge, until Ctrl-C."""

import signal
import sys
import tempfile
from contextlib import suppress

from tests.fake_dobby.processes import ROOT, fake_dobby, ocibridge, private_bus, until_owned

TEXT = """
ocibridge runs on a private bus, in front of a fake Dobby. In a second shell, paste:

cd {root}
export DBUS_SESSION_BUS_ADDRESS='{address}'
oci() {{ busctl --user -- call org.rdk.OCIContainer /org/rdk/OCIContainer \
org.rdk.OCIContainer1 "$@"; }}
oci listContainers
busctl --user get-property org.rdk.OCIContainer /org/rdk/OCIContainer \
org.rdk.OCIContainer1 DobbyStatus ContainerCount
busctl --user --no-pager introspect org.rdk.OCIContainer /org/rdk/OCIContainer

docs/tutorial.md goes on from here. Ctrl-C ends it all.
"""


def main() -> None:
    # SIGINT too: a shell without job control starts `make run &` with SIGINT ignored, and Python
    # keeps it ignored.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with (
        tempfile.TemporaryDirectory(prefix="ocibridge-run-") as directory,
        private_bus() as address,
        fake_dobby(address, rewrites=False),  # does not rewrite the examples in the working tree
        ocibridge(address, environment={"RUNTIME_DIRECTORY": directory}) as bridge,
    ):
        until_owned(address)
        print(TEXT.format(root=ROOT, address=address), flush=True)
        sys.exit(f"ocibridge has ended by itself, with {bridge.child.wait()}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
