# SPDX-License-Identifier: Apache-2.0
"""Owns ocibridge's name in its place, and prints each signal that is unicast to it.

python -m tests.robustness.listener ADDRESS prints its unique name, then the members of signals
until the signal `Last` comes.
"""

import sys

from dbus_fast import MessageType

from tests.robustness.wire import OURS, Wire


def main(address: str) -> None:
    """Own the name and print what arrives."""
    with Wire(address) as wire:
        assert wire.ask_bus("RequestName", "su", OURS, 4) == 1
        print(wire.name, flush=True)
        while (message := wire.next()).member != "Last":
            if (
                message.message_type is MessageType.SIGNAL
                and message.sender != "org.freedesktop.DBus"
            ):
                print(message.member, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
