# SPDX-License-Identifier: Apache-2.0
"""The configuration: durations, and errors that name file, key and what was expected."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocibridge.config.schema import (
    Config,
    ConfigError,
    LogLevel,
    UnknownOrigin,
    config_of,
    mapping_of,
    seconds_of,
)


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
    assert msgspec.structs.asdict(config.timeouts) == {
        "call": 1.0,
        "start": 2.0,
        "stop": 90.0,
        "hibernate": 3600.0,
        "read": 0.02,
    }
    assert (config.unknown_origin, config.log.level, config.sweep_interval) == (
        UnknownOrigin.REFUSE,
        LogLevel.DEBUG,
        0.5,
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("150ms", 0.15),
        ("10", 10),
        ("1min 30s", 90),
        ("2h", 7200),
        ("5 min", 300),
        ("1.5s", 1.5),
        ("20us", 2e-5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fast",
        "10 parsecs",
        "-1s",
        "1s x",
        "ms",
        "infinity",
        "1,5s",
        "010",
        "01s",
        "1:30",
        "1 000s",
        "1 000",
        "1min 30",
        "1_000",
        "+5s",
    ],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tiemouts: {}", "tiemouts"),
        ("timeouts: {reed: 1s}", "timeouts: .*reed"),
        ("timeouts: {read: fast}", 'timeouts.read: .*duration.*"fast"'),
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
        (
            'limits: {queued: !!int ""}',
            'limits.queued: line 1, column 18: "" is not a value of the type !!int',
        ),
        (
            "log:\n  level: !!bool x",
            'log.level: line 2, column 10: "x" is not a value of the type !!bool',
        ),
        (
            "callsign: !!timestamp x",
            'callsign: line 1, column 11: the tag "!!timestamp" cannot be used here',
        ),
        ("bus: system\nbus: session", "bus: line 2, column 1: the key is given twice"),
        (
            "limits: {queued: 1, in_flight: 2, queued: 3}",
            "limits.queued: line 1, column 35: the key is given twice",
        ),
        ("{<<: {bus: system}}", "<<"),
        ("1: 2", "line 1, column 1: a key must be a string"),
        ("? [a]\n: b", "a key must be a string"),
        ('"\\UFFFFFFFF": 1', "not YAML"),
        (f"sweep_interval: 1{'0' * 400}", "sweep_interval: .*too long"),
        ("timeouts: {read: 1e400}", "timeouts.read: .*between 1ms and 365d"),
        ("timeouts: {read: 010}", 'timeouts.read: .*no leading zero.*"010"'),
        ("timeouts: {read: 1:30}", 'timeouts.read: .*1min 30s.*"1:30"'),
        ("timeouts: {read: 1 000s}", 'timeouts.read: .*"1 000s"'),
        ("limits: {queued: 0x10}", "limits.queued: .*int"),
        ("callsign: org.rdk.dobby", "callsign: .*dobby.service"),
        ("{callsign: org.x.y, dobby: {service: org.x.y}}", "callsign: .*dobby.service"),
        ("callsign: org.freedesktop.DBus", "callsign: .*bus itself"),
        ("callsign: org.freedesktop.DBus.Local", "callsign: .*bus itself"),
        ("callsign: :1.5", "callsign: .*bus name"),
        ("dobby: {service: org.freedesktop.DBus}", "dobby.service: .*bus itself"),
        ('bus: "unix:path=/a\\0b"', "bus: .*without control characters"),
        ('bus: "unix:path=/a\\x1bb"', "bus: .*without control characters"),
        ('bus: "unix:path=/a\\ud800b"', "bus: .*without control characters"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^some.yaml: .*{said}"):
        mapping_of(text, "some.yaml")


def test_plain_words_are_texts() -> None:
    """YAML 1.1 would read these as booleans, dates or sexagesimal numbers."""
    assert mapping_of('bus: session\nsweep_interval: "10"', "f") == {
        "bus": "session",
        "sweep_interval": "10",
    }
    for word in ("no", "2001-01-01", "0o17", "1_000", ".inf"):
        with pytest.raises(ConfigError, match=f'^f: callsign: expected a bus name, got "{word}"$'):
            mapping_of(f"callsign: {word}", "f")


def test_an_alias_is_the_same_value() -> None:
    assert (
        config_of(mapping_of("timeouts: {call: &long 1min, start: *long}", "f")).timeouts.start
        == 60.0
    )


def test_the_text_of_an_error_is_bounded() -> None:
    """Expanded, the nested aliases would have 9^11 items."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)
    ]
    for text in (
        "\n".join([*lines, "sweep_interval: *a11"]),
        f"sweep_interval: {'x' * 99999}",
        f"{'k' * 999}: 1\n" * 2,
    ):
        with pytest.raises(ConfigError) as error:
            mapping_of(text, "f")
        assert len(str(error.value)) < 600


KEYS = [
    "bus",
    "callsign",
    "dobby",
    "service",
    "timeouts",
    "read",
    "limits",
    "queued",
    "sweep_interval",
    "unknown_origin",
    "log",
    "level",
    "<<",
]
TAGS = [
    "null",
    "bool",
    "int",
    "float",
    "str",
    "binary",
    "timestamp",
    "omap",
    "pairs",
    "set",
    "seq",
    "map",
    "merge",
    "value",
    "python/none",
    "x",
]
SCALARS = st.sampled_from(
    [
        "",
        "x",
        "1",
        "1.5",
        "1:30",
        "010",
        "0x",
        "0b",
        "-",
        ".",
        "=",
        "~",
        "yes",
        "true",
        "2001-01-01",
        "10s",
        "*a",
        "&a b",
        "<<",
    ]
)
QUOTED = st.text(max_size=4).map(msgspec.json.encode).map(bytes.decode)
ESCAPES = st.sampled_from(
    ['"\\UFFFFFFFF"', '"\\ud800"', '"\\0"', '"\\x"', "'", '"', "|", ">", "%", "@", "`"]
)


def tagged(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds("!!{} {}".format, st.sampled_from(TAGS), inner)


def inside(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    keys = st.one_of(st.sampled_from(KEYS), inner)
    pairs = st.lists(st.builds("{}: {}".format, keys, inner), max_size=3)
    return st.one_of(
        tagged(inner),
        pairs.map(lambda items: "{" + ", ".join(items) + "}"),
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
    )


YAML = st.recursive(st.one_of(SCALARS, QUOTED, ESCAPES, tagged(SCALARS)), inside, max_leaves=8)


@settings(deadline=None)
@given(
    st.one_of(
        YAML,
        st.builds("{}: {}".format, st.sampled_from(KEYS), YAML),
        st.text(max_size=20),
        st.builds("%{}\n---\n{}".format, st.text(max_size=8), YAML),
    )
)
def test_whatever_stands_there_is_a_configuration_or_an_error_of_ours(text: str) -> None:
    with suppress(ConfigError):
        config_of(mapping_of(text, "f"))


@settings(deadline=None)
@given(st.binary(max_size=60).map(lambda junk: junk.decode(errors="surrogateescape")))
def test_junk_is_an_error_of_ours(text: str) -> None:
    with suppress(ConfigError):
        mapping_of(text, "f")
