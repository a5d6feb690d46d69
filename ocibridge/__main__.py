"""The way in, also as `python3 -m ocibridge`: what has to be decided before anything else is imported."""

import sys
from importlib.util import find_spec

from ocibridge.systemd import process_signals


def main() -> int:
    """Run the program; the exit code."""
    process_signals.set_up()
    if find_spec("uvloop") is None:  # which insists on it
        # asyncio does without TLS where there is none, and so do we: on a private bus, for 4 MiB less.
        sys.modules["ssl"] = None  # type: ignore[assignment] # how an import is told that there is none
    from ocibridge.cli import main as run  # noqa: PLC0415 - not before that

    return run()


if __name__ == "__main__":
    sys.exit(main())
