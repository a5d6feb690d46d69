# SPDX-License-Identifier: Apache-2.0
"""The entry point: does what has to precede every other import."""

import sys
from importlib.util import find_spec

from ocibridge.systemd import process_signals


def main() -> int:
    """Run the program and return its exit code."""
    process_signals.set_up()
    if find_spec("uvloop") is None:  # uvloop needs ssl
        # asyncio works without ssl, which a private bus does not need, and which takes 4 MiB.
        sys.modules["ssl"] = None  # type: ignore[assignment] # makes `import ssl` fail
    from ocibridge.cli import main as run  # noqa: PLC0415 - imports asyncio

    return run()


if __name__ == "__main__":
    sys.exit(main())
