"""The owner of ocibridge's name, without being it: prints each signal that is sent to it alone.

python -m tests.robustness.listener ADDRESS: first its unique name, then the members, until the signal `Last` comes.
"""

import sys

from dbus_fast import MessageType

from tests.robustness.waits import driver
from tests.robustness.wire import OURS, Wire


def main(address: str) -> None:
    """Listen."""
    with Wire(address) as wire:
        assert driver(wire, "RequestName", "su", OURS, 4) == 1
        print(wire.name, flush=True)
        while (message := wire.next()).member != "Last":
            if (
                message.message_type is MessageType.SIGNAL
                and message.sender != "org.freedesktop.DBus"
            ):
                print(message.member, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
