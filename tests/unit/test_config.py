"""Configuration: durations as systemd writes them, errors that name file, key and what was expected."""

import msgspec
import pytest

from ocibridge.config import Config, ConfigError, LogLevel, UnknownOrigin, config_of, mapping_of, seconds_of


def test_no_file_and_an_empty_file_are_the_defaults() -> None:
    assert config_of(mapping_of("", "f")) == Config()
    assert (Config().timeouts.read, Config().limits.in_flight, Config().bus) == (0.15, 32, "system")


def test_every_key() -> None:
    text = """
        bus: unix:path=/run/bus
        callsign: org.example.One
        dobby: {service: org.example.dobby, object: /org/example/dobby}
        timeouts: {call: 1, start: 2s, stop: 1min 30s, hibernate: 1h, read: 20ms}
        limits: {in_flight: 1, queued: 2, per_caller: 3}
        sweep_interval: 0.5s
        unknown_origin: refuse
        log: {level: debug}
    """
    config = config_of(mapping_of(text, "f"))
    assert msgspec.structs.asdict(config.timeouts) == {"call": 1.0, "start": 2.0, "stop": 90.0, "hibernate": 3600.0, "read": 0.02}
    assert (config.unknown_origin, config.log.level, config.sweep_interval) == (UnknownOrigin.REFUSE, LogLevel.DEBUG, 0.5)


@pytest.mark.parametrize(
    ("text", "seconds"), [("150ms", 0.15), ("10", 10), ("1min 30s", 90), ("2h", 7200), ("5 min", 300), ("1.5s", 1.5), ("20us", 2e-5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "fast", "10 parsecs", "-1s", "1s x", "ms", "infinity", "1,5s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tiemouts: {}", "tiemouts"),
        ("timeouts: {reed: 1s}", "timeouts: .*reed"),
        ("timeouts: {read: fast}", "timeouts.read: .*duration.*'fast'"),
        ("timeouts: {read: true}", "timeouts.read: .*duration"),
        ("timeouts: {read: 0}", "timeouts.read: .*between"),
        ("timeouts: 5", "timeouts: .*object"),
        ("limits: {queued: 1.5}", "limits.queued: .*int"),
        ("limits: {in_flight: 49}", "limits.in_flight: .*1 to 48"),
        ("unknown_origin: maybe", "unknown_origin: .*maybe"),
        ("log: {level: loud}", "log.level: .*loud"),
        ("bus: somewhere", "bus: .*somewhere"),
        ("callsign: .a", "callsign: .*bus name"),
        ("dobby: {object: a/b}", "dobby.object: .*object path"),
        ("- 1", "object"),
        ("a: [", "line"),
        ("&a [*a]", "object"),
        ("!!python/object/apply:os.getpid []", "python"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^some.yaml: .*{said}"):
        mapping_of(text, "some.yaml")
