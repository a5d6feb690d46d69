# SPDX-License-Identifier: Apache-2.0
"""The configuration's keys, types, defaults and checks (docs/design.md, Configuration).

It is one YAML mapping in which every key is optional. Durations are written as in systemd.time(7),
such as "150ms" or "1min 30s", and kept in seconds.
"""

import os
import re
from enum import StrEnum
from typing import Any, Final

import msgspec

from ocibridge import names
from ocibridge.access.rules import DEFAULT_RULES, Rule, problem_of
from ocibridge.config import yaml_text
from ocibridge.text import quoted, readable

MIN_SECONDS: Final = 0.001
MAX_SECONDS: Final = 365 * 86400.0
UNITS: Final = {
    "us": 1e-6,
    "ms": 1e-3,
    "": 1.0,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
    "days": 86400.0,
}
NUMBER: Final = r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?"
WORDS: Final = "|".join(sorted(filter(None, UNITS), key=len, reverse=True))
# A number alone, or numbers that each have a unit. "1 000s" and "010" are refused as ambiguous.
DURATION: Final = re.compile(
    rf"\s*(?:{NUMBER}|{NUMBER}\s*(?:{WORDS})(?:\s*{NUMBER}\s*(?:{WORDS}))*)\s*", re.ASCII
)
PART: Final = re.compile(rf"({NUMBER})\s*([a-z]*)")
DURATION_EXPECTED: Final = (
    'expected a duration such as 10, "150ms" or "1min 30s" '
    "(each number with its unit; no leading zero, colon or blank within a number)"
)
BUS_NAME: Final = re.compile(r"[A-Za-z_-][A-Za-z0-9_-]*(\.[A-Za-z_-][A-Za-z0-9_-]*)+")
INTERFACE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+")
OBJECT_PATH: Final = re.compile(r"/|(/[A-Za-z0-9_]+)+")
ADDRESS: Final = re.compile(r"[a-z0-9-]+:[^,]*=.*")
MAX_NAME_BYTES: Final = 255
# The system bus, spelled as an address.
SYSTEM_BUS_ADDRESSES: Final = {
    f"unix:path={run}/dbus/system_bus_socket" for run in ("/run", "/var/run")
}
# limits.*. Dobby has 49 reply slots for all clients (docs/dobby.md, Reply slots).
MAX_LIMITS: Final = {"in_flight": 48, "queued": 1 << 20, "per_caller": 1 << 20, "per_user": 1 << 20}


class ConfigError(Exception):
    """An invalid configuration. The text names the file, the key and what was expected."""


class Duration(float):
    """Seconds."""


class UnknownOrigin(StrEnum):
    """Whether calls that can crash Dobby are allowed for a container whose bundle is unknown.

    AUTO allows them for containers that others started, and refuses them for those that we started
    from a bundle that we could not read (docs/design.md, What is known of a bundle).
    """

    AUTO = "auto"
    ALLOW = "allow"
    REFUSE = "refuse"


class LogLevel(StrEnum):
    """The least level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping in which every key is optional and unknown keys are errors."""


class DobbyNames(_Section, frozen=True):
    """Dobby's bus name and object path."""

    service: str = names.DOBBY_SERVICE
    object: str = names.DOBBY_OBJECT


class Timeouts(_Section, frozen=True):
    """How long a caller waits at most, in seconds from the arrival of its call."""

    call: Duration = Duration(10)
    start: Duration = Duration(20)
    stop: Duration = Duration(10)
    hibernate: Duration = Duration(20)
    read: Duration = Duration(0.150)


class Limits(_Section, frozen=True):
    """How many calls may be in flight or queued; man ocibridge.yaml(5) explains each."""

    in_flight: int = 32
    queued: int = 1024
    per_caller: int = 64
    per_user: int = 512


class Log(_Section, frozen=True):
    """Logging."""

    level: LogLevel = LogLevel.INFO


class Config(_Section, frozen=True):
    """The whole configuration."""

    bus: str = "system"
    callsign: str = names.CALLSIGN
    dobby: DobbyNames = DobbyNames()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    sweep_interval: Duration = Duration(10)
    unknown_origin: UnknownOrigin = UnknownOrigin.AUTO
    access: tuple[Rule, ...] = DEFAULT_RULES
    log: Log = Log()


def mapping_of(text: str, origin: str) -> dict[str, Any]:
    """The mapping in `text`, checked. `origin` is the file that errors name. Raises ConfigError."""
    try:
        data = yaml_text.parse(text)
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}") from None
    mapping: dict[str, Any] = {} if data is None else data
    checked(mapping, origin)
    return mapping


def checked(mapping: dict[str, Any], origin: str) -> Config:
    """`config_of`, with all checks. Raises ConfigError, which names `origin`."""
    try:
        config = config_of(mapping)
        _check(config)
    except (ValueError, RecursionError) as error:  # msgspec.ValidationError is a ValueError
        raise ConfigError(f"{origin}: {readable(error)}") from None
    return config


def config_of(mapping: dict[str, Any]) -> Config:
    """The configuration with these keys, and defaults for the others. Raises ValueError."""
    return msgspec.convert(mapping, Config, dec_hook=_duration)


def seconds_of(text: str) -> float:
    """The seconds of a duration such as "150ms"; a number alone is seconds. Raises ValueError."""
    if not DURATION.fullmatch(text):
        raise ValueError(f"{DURATION_EXPECTED}, got {quoted(text)}")
    return sum(float(number) * UNITS[unit] for number, unit in PART.findall(text))


def bus_problem(where: str) -> str | None:
    """Why `where` names no bus, or None if it does."""
    if where in {"system", "session"} or (ADDRESS.fullmatch(where) and where.isprintable()):
        return None
    return (
        'expected "system", "session" or a D-Bus address such as "unix:path=/run/bus", '
        f"without control characters, got {quoted(where)}"
    )


def is_system_bus(where: str) -> bool:
    """Whether `where`, a checked value of the key `bus`, is the system bus."""
    own = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", "")
    return where == "system" or where in {own, *SYSTEM_BUS_ADDRESSES}


def _duration(kind: type, value: Any) -> Any:
    """msgspec's hook for the type Duration."""
    if kind is not Duration:
        raise NotImplementedError
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        # Name the type, not the value: with nested YAML aliases, its text could exceed all memory.
        raise ValueError(f"{DURATION_EXPECTED}, got a value of the type {type(value).__name__}")
    seconds = seconds_of(value) if isinstance(value, str) else float(value)
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise ValueError(f"expected a duration between 1ms and 365d, got {quoted(str(value))}")
    return Duration(seconds)


def _check(config: Config) -> None:
    """Check what types cannot express. Raises ValueError."""
    problems = {
        "bus": bus_problem(config.bus),
        "callsign": _mismatch(BUS_NAME, config.callsign, "a bus name")
        or _reserved(config.callsign),
        "dobby.service": _mismatch(INTERFACE_NAME, config.dobby.service, "a bus name")
        or _reserved(config.dobby.service),
        "dobby.object": _mismatch(OBJECT_PATH, config.dobby.object, "an object path"),
        **{
            f"limits.{key}": _outside(getattr(config.limits, key), 1, most)
            for key, most in MAX_LIMITS.items()
        },
        **{f"access[{number}]": problem_of(rule) for number, rule in enumerate(config.access)},
    }
    if config.callsign == config.dobby.service:
        problems["callsign"] = (
            f"must differ from dobby.service, which is also {config.dobby.service}: "
            "ocibridge would call itself"
        )
    for key, problem in problems.items():
        if problem is not None:
            raise ValueError(f"{key}: {problem}")


def _mismatch(pattern: re.Pattern[str], value: str, what: str) -> str | None:
    if pattern.fullmatch(value) and len(value) <= MAX_NAME_BYTES:
        return None
    return f"expected {what}, got {quoted(value)}"


def _reserved(name: str) -> str | None:
    if name == names.DRIVER or name.startswith(f"{names.DRIVER}."):
        return f"{quoted(name)} belongs to the bus itself; choose a name outside {names.DRIVER}"
    return None


def _outside(value: int, least: int, most: int) -> str | None:
    return (
        None if least <= value <= most else f"expected a number from {least} to {most}, got {value}"
    )


class Settings:
    """The configuration in force, `now`. Read a value each time, since a reload replaces it."""

    def __init__(self, config: Config) -> None:
        self.now = config

    def take(self, new: Config) -> list[str]:
        """Apply `new` without the changes that need a restart, and return the keys of those."""
        old = self.now
        self.now = msgspec.structs.replace(new, bus=old.bus, callsign=old.callsign, dobby=old.dobby)
        pairs = {
            "bus": (old.bus, new.bus),
            "callsign": (old.callsign, new.callsign),
            "dobby.service": (old.dobby.service, new.dobby.service),
            "dobby.object": (old.dobby.object, new.dobby.object),
        }
        return [key for key, (before, after) in pairs.items() if before != after]
