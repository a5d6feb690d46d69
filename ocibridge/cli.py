# SPDX-License-Identifier: Apache-2.0
"""The command line: options and exit codes (ocibridge(8))."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec
import structlog

from ocibridge import __version__, daemon
from ocibridge.access import report
from ocibridge.config.files import find, load
from ocibridge.config.schema import Config, ConfigError, bus_problem
from ocibridge.systemd.journal import Journal
from ocibridge.systemd.message_ids import MessageId

# How long to wait at exit for a slow journald to take the last entries.
FLUSH_SECONDS = 2.0
# How many words --check-access takes.
MIN_QUESTION = 2
MAX_QUESTION = 3
EXIT_CODES = """exit codes:
  0   stopped by SIGTERM or SIGINT; with --check-config: valid; with --check-access: allowed
  64  invalid command line
  69  no bus, the bus lost, or the bus name taken
  70  a bug of ocibridge
  77  with --check-access: refused
  78  invalid configuration"""


class _Parser(argparse.ArgumentParser):
    """Exits with 64, as in sysexits.h, for an invalid command line; argparse itself with 2."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ocibridge",
        description="The RDK OCIContainer interface on D-Bus for the Dobby container daemon.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="read only this file "
        "(default: ocibridge/ocibridge.yaml in /etc, /run or /usr/lib, and drop-ins)",
    )
    parser.add_argument(
        "--check-config",
        action="store_true",
        help="check the configuration and exit: 0 valid, 78 invalid",
    )
    parser.add_argument(
        "--check-access",
        nargs="+",
        metavar=("USER", "METHOD"),
        help="with USER METHOD [ID]: name the rule that decides whether that user may call the "
        "method, for the container ID, and exit: 0 allowed, 77 refused",
    )
    parser.add_argument(
        "--bus",
        metavar="system|session|ADDRESS",
        help="the bus that callers and Dobby are on (default: system)",
    )
    parser.add_argument("--version", action="version", version=f"ocibridge {__version__}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.bus is not None and (problem := bus_problem(options.bus)):
        parser.error(f"argument --bus: {problem}")
    if options.check_access is not None:
        return _check_access(parser, options)
    return _check(options) if options.check_config else _run(options)


def _check(options: argparse.Namespace) -> int:
    try:
        files = _files(options)
        config = load(files)
    except ConfigError as error:
        print(f"ocibridge: {error}", file=sys.stderr)
        return os.EX_CONFIG
    for warning in report.warnings(config.access):
        print(f"ocibridge: warning: {warning}", file=sys.stderr)
    read = ", ".join(map(str, files)) or "no file, all defaults"
    print(f"ocibridge: the configuration is valid: {read}")
    return os.EX_OK


def _check_access(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    question = options.check_access
    if not MIN_QUESTION <= len(question) <= MAX_QUESTION:
        parser.error("argument --check-access: expected USER METHOD [ID]")
    user, method, *rest = question
    try:
        config = load(_files(options))
        answer = report.answer(config.access, user, method, rest[0] if rest else "")
    except ConfigError as error:
        print(f"ocibridge: {error}", file=sys.stderr)
        return os.EX_CONFIG
    except ValueError as error:
        parser.error(f"argument --check-access: {error}")
    print("\n".join(answer.lines))
    return os.EX_OK if answer.is_allowed else os.EX_NOPERM


def _run(options: argparse.Namespace) -> int:
    journal = Journal()
    try:
        return _serve(options, journal)
    finally:
        journal.end(FLUSH_SECONDS)


def _serve(options: argparse.Namespace, journal: Journal) -> int:
    log = structlog.get_logger()
    try:
        settings = _load(options)
        journal.level = settings.log.level
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(daemon.serve(settings, lambda: _load(options), journal))
    except ConfigError as error:
        log.error(
            f"the configuration is refused: {error}", MESSAGE_ID=MessageId.CONFIGURATION_REFUSED
        )
        return os.EX_CONFIG
    except Exception:
        log.exception("ocibridge ends because of a bug", MESSAGE_ID=MessageId.BUG)
        return os.EX_SOFTWARE


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop if it is installed: it saves a sixth of the CPU time of a call, for 6 MiB."""
    try:
        import uvloop  # noqa: PLC0415 - optional; --check-config does without
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _files(options: argparse.Namespace) -> list[Path]:
    return find() if options.config is None else [options.config]


def _load(options: argparse.Namespace) -> Config:
    """The configuration from the files, overridden by the options. Raises ConfigError."""
    settings = load(_files(options))
    return settings if options.bus is None else msgspec.structs.replace(settings, bus=options.bus)
