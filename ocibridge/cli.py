"""The command line (design 12): options, and what each exit code means."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import msgspec
import structlog

from ocibridge import __version__, config, daemon, journal

EXIT_CODES = """exit codes:
  0   stopped by SIGTERM or SIGINT, or nothing to complain of
  64  wrong command line
  69  no bus, the bus lost, or the bus name taken
  70  a bug of ocibridge
  78  wrong configuration"""


class _Parser(argparse.ArgumentParser):
    """argparse would exit with 2; sysexits.h has 64 for a wrong command line."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ocibridge",
        description="The RDK OCIContainer interface on D-Bus, in front of the Dobby container daemon.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help="read this file alone (default: the first of /etc, /run, /usr/lib)")
    parser.add_argument("--check-config", action="store_true", help="say whether the configuration is right (exit 0) or not (exit 78)")
    parser.add_argument("--bus", metavar="system|session|ADDRESS", help="the bus that callers and Dobby are on (default: system)")
    parser.add_argument("--version", action="version", version=f"ocibridge {__version__}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.bus is not None and (problem := config.bus_problem(options.bus)):
        parser.error(f"argument --bus: {problem}")
    try:
        settings = config.load(options.config)
    except config.ConfigError as error:
        print(f"ocibridge: {error}", file=sys.stderr)
        return os.EX_CONFIG
    if options.check_config:
        print("ocibridge: the configuration is right")
        return os.EX_OK
    if options.bus is not None:
        settings = msgspec.structs.replace(settings, bus=options.bus)
    journal.set_up(settings.log.level)
    try:
        return asyncio.run(daemon.serve(settings))
    except Exception:  # noqa: BLE001 - the last resort: whatever it is becomes exit code 70 and a traceback in the journal
        structlog.get_logger().exception("ocibridge has to give up")
        return os.EX_SOFTWARE
