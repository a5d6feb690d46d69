"""`make run`: a private bus, the stand-in Dobby and ocibridge, until Ctrl-C."""

import os
import signal
import subprocess
import tempfile
from contextlib import suppress

from tests.standin.processes import ROOT, ocibridge, private_bus, standin_dobby

TEXT = """
ocibridge runs on a private bus, in front of a stand-in Dobby. In a second shell, paste:

cd {root}
export DBUS_SESSION_BUS_ADDRESS='{address}'
oci="busctl --user -- call org.rdk.OCIContainer /org/rdk/OCIContainer org.rdk.OCIContainer1"
busctl --user introspect org.rdk.OCIContainer /org/rdk/OCIContainer
$oci startContainer ssssas SleepTest "$PWD/examples/bundles/sleep" "" "" 0
$oci listContainers
$oci getContainerState s SleepTest
$oci stopContainer sb SleepTest false
gdbus monitor --session -d org.rdk.OCIContainer

Ctrl-C ends it all.
"""


def main() -> None:
    # SIGINT too: a shell without job control starts `make run &` with it ignored, and Python would leave it so.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    with (
        tempfile.TemporaryDirectory(prefix="ocibridge-run-") as directory,
        private_bus() as address,
        standin_dobby(address),
        ocibridge(address, environment={"RUNTIME_DIRECTORY": directory}) as bridge,
    ):
        wait = ["gdbus", "wait", "--session", "--timeout=15", "org.rdk.OCIContainer"]
        subprocess.run(wait, env=os.environ | {"DBUS_SESSION_BUS_ADDRESS": address}, check=True)
        print(TEXT.format(root=ROOT, address=address), flush=True)
        bridge.child.wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
