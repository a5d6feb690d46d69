"""Configuration (design 11): one YAML mapping, every key optional, works with no file at all.

Durations are written as systemd writes them ("150ms", "1min 30s") and are kept in seconds.
"""

import re
from enum import StrEnum
from typing import Any, Final

import msgspec
import yaml

from ocibridge import names
from ocibridge.problems import readable

SHORTEST: Final = 0.001  # seconds
LONGEST: Final = 365 * 86400.0
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
BUS_NAME: Final = re.compile(r"[A-Za-z_-][A-Za-z0-9_-]*(\.[A-Za-z_-][A-Za-z0-9_-]*)+")
INTERFACE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+")
OBJECT_PATH: Final = re.compile(r"/|(/[A-Za-z0-9_]+)+")
ADDRESS: Final = re.compile(r"[a-z0-9-]+:[^,]*=.*")
LONGEST_NAME: Final = 255


class ConfigError(Exception):
    """A configuration that cannot be used; the text names the file, the key and what was expected."""


class Duration(float):
    """Seconds."""


class UnknownOrigin(StrEnum):
    """Whether calls that might crash Dobby are let through for a container whose bundle we have not seen.

    AUTO: for containers that others started, not for one that was started through us from a bundle that we could not read.
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

    @property
    def syslog(self) -> str:
        """The word for it in LogControl1, which has those of sd-daemon(3)."""
        return "err" if self is LogLevel.ERROR else self.value


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping in which every key has a default and no other key is taken."""


class DobbyNames(_Section, frozen=True):
    """Where Dobby is on the bus."""

    service: str = names.DOBBY_SERVICE
    object: str = names.DOBBY_OBJECT


class Timeouts(_Section, frozen=True):
    """How long a caller waits at most, from the arrival of its call."""

    call: Duration = Duration(10)
    start: Duration = Duration(20)
    stop: Duration = Duration(10)
    hibernate: Duration = Duration(20)
    read: Duration = Duration(0.150)


class Limits(_Section, frozen=True):
    """How much may be under way."""

    in_flight: int = 32
    queued: int = 1024
    per_caller: int = 64
    per_user: int = 512


class Log(_Section, frozen=True):
    """What goes into the journal."""

    level: LogLevel = LogLevel.INFO


class Config(_Section, frozen=True):
    """The whole file."""

    bus: str = "system"
    callsign: str = names.CALLSIGN
    dobby: DobbyNames = DobbyNames()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    sweep_interval: Duration = Duration(10)
    unknown_origin: UnknownOrigin = UnknownOrigin.AUTO
    log: Log = Log()


def mapping_of(text: str, origin: str) -> dict[str, Any]:
    """The mapping in `text`, found right; `origin` is the file that errors name. Raises ConfigError."""
    try:
        data = yaml.safe_load(text)
        mapping: dict[str, Any] = {} if data is None else data
        _check(config_of(mapping))
    except (yaml.YAMLError, msgspec.ValidationError, ValueError, RecursionError) as error:
        raise ConfigError(f"{origin}: {readable(error)}") from None
    return mapping


def config_of(mapping: dict[str, Any]) -> Config:
    """The configuration that has these keys, and the defaults for the others."""
    return msgspec.convert(mapping, Config, dec_hook=_duration)


def seconds_of(text: str) -> float:
    """Seconds of a duration as systemd.time(7) writes it: "150ms", "1min 30s"; a number alone is seconds."""
    parts = re.findall(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)", text)
    if not parts or re.sub(r"\s*[0-9]+(?:\.[0-9]+)?\s*[a-z]*", "", text).strip() or any(unit not in UNITS for _, unit in parts):
        raise ValueError(f'expected a duration such as "150ms" or "1min 30s", got {text!r}')
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def bus_problem(where: str) -> str | None:
    """Why `where` cannot be a bus; None if it can."""
    if where in {"system", "session"} or ADDRESS.fullmatch(where):
        return None
    return f'expected "system", "session" or a D-Bus address such as "unix:path=/run/bus", got {where!r}'


def _duration(kind: type, value: Any) -> Any:
    """msgspec's hook for the one type that it does not know."""
    if kind is not Duration:
        raise NotImplementedError
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f'expected a duration such as "150ms", got {value!r}')
    seconds = seconds_of(value) if isinstance(value, str) else float(value)
    if not SHORTEST <= seconds <= LONGEST:
        raise ValueError(f"expected a duration between 1ms and 365d, got {value!r}")
    return Duration(seconds)


def _check(config: Config) -> None:
    """What types cannot say."""
    problems = {
        "bus": bus_problem(config.bus),
        "callsign": _mismatch(BUS_NAME, config.callsign, "a bus name"),
        "dobby.service": _mismatch(INTERFACE_NAME, config.dobby.service, "a bus name"),
        "dobby.object": _mismatch(OBJECT_PATH, config.dobby.object, "an object path"),
        **{f"limits.{key}": _outside(getattr(config.limits, key), 1, top) for key, top in LIMIT_TOPS.items()},
    }
    for key, problem in problems.items():
        if problem is not None:
            raise ValueError(f"{key}: {problem}")


# Dobby has 49 reply slots, for us and everybody else on the bus (facts, points 1 and 2).
LIMIT_TOPS: Final = {"in_flight": 48, "queued": 1 << 20, "per_caller": 1 << 20, "per_user": 1 << 20}


def _mismatch(pattern: re.Pattern[str], value: str, what: str) -> str | None:
    if pattern.fullmatch(value) and len(value) <= LONGEST_NAME:
        return None
    return f"expected {what}, got {value!r}"


def _outside(value: int, least: int, most: int) -> str | None:
    return None if least <= value <= most else f"expected a number from {least} to {most}, got {value}"
