# SPDX-License-Identifier: Apache-2.0
"""Reloads: all or nothing, and what needs a restart is reported."""

from collections.abc import Callable

import msgspec
import pytest
import structlog

from ocibridge.config.reload import Reload
from ocibridge.config.schema import Config, ConfigError, LogLevel, Settings, config_of
from ocibridge.systemd.journal import LEVELS, Journal
from ocibridge.systemd.message_ids import MessageId

Logged = list[dict[str, object]]


def reload(
    settings: Settings, load: Callable[[], Config], journal: Journal
) -> tuple[Reload, Logged]:
    reloads = Reload(settings, load, journal)
    with structlog.testing.capture_logs() as logged:
        reloads.run()
    return reloads, [dict(entry) for entry in logged]


def test_what_can_change_does() -> None:
    settings, journal = Settings(Config()), Journal()
    new = config_of(
        {
            "timeouts": {"stop": "3s"},
            "limits": {"per_caller": 5},
            "sweep_interval": 1,
            "unknown_origin": "refuse",
            "log": {"level": "error"},
        }
    )
    reloads, logged = reload(settings, lambda: new, journal)
    assert settings.now == new
    assert (settings.now.timeouts.stop, settings.now.sweep_interval) == (3.0, 1.0)
    assert (settings.now.limits.per_caller, settings.now.unknown_origin.value) == (5, "refuse")
    assert journal.level == "err"
    assert (reloads.complaint, len(logged)) == ("", 1)


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"bus": "session"}, "bus"),
        ({"callsign": "org.x.Y"}, "callsign"),
        ({"dobby": {"service": "org.x.d", "object": "/x"}}, "dobby.service, dobby.object"),
    ],
)
def test_what_needs_a_restart_stays_and_is_reported(changes: dict[str, object], keys: str) -> None:
    settings = Settings(Config())
    new = config_of({"timeouts": {"stop": 3}, **changes})
    reloads, logged = reload(settings, lambda: new, Journal())
    assert settings.now == msgspec.structs.replace(Config(), timeouts=new.timeouts)
    assert reloads.complaint == f"; restart to change {keys}"
    assert [entry["log_level"] for entry in logged] == ["info", "warning"]


def test_what_is_wrong_changes_nothing() -> None:
    settings = Settings(Config())

    def wrong() -> Config:
        raise ConfigError("f: limits.queued: expected int")

    reloads, logged = reload(settings, wrong, Journal())
    assert settings.now == Config()
    assert "refused" in reloads.complaint
    assert [
        (entry["log_level"], "f: limits.queued: expected int" in str(entry["event"]))
        for entry in logged
    ] == [("error", True)]
    reloads._load = Config
    reloads.run()
    assert reloads.complaint == ""


def test_a_level_set_by_hand_stays_unless_the_files_change_theirs() -> None:
    settings, journal = Settings(Config()), Journal()
    journal.level = "debug"
    reload(settings, Config, journal)
    assert journal.level == "debug"
    reload(settings, lambda: config_of({"log": {"level": "warning"}}), journal)
    assert journal.level == "warning"


def test_what_nobody_foresaw_changes_nothing_and_is_a_bug_entry() -> None:
    """Also if the error comes after the new values were applied."""

    class Broken(Journal):
        @property
        def level(self) -> str:
            return "info"

        @level.setter
        def level(self, level: str) -> None:
            if level != "info":
                raise OSError("no level")

    def unforeseen() -> Config:
        raise IndexError("string index out of range")

    for load in (
        unforeseen,
        lambda: config_of({"timeouts": {"stop": 3}, "log": {"level": "error"}}),
    ):
        settings = Settings(Config())
        reloads, logged = reload(settings, load, Broken())
        assert settings.now == Config()
        assert reloads.complaint == "; the new configuration is refused, the old one stays"
        assert logged[-1]["MESSAGE_ID"] == MessageId.BUG
        assert logged[-1]["exc_info"]


def test_each_level_of_the_configuration_is_one_of_the_journal() -> None:
    for level in LogLevel:
        Journal().level = level
        assert Journal(level.value).level in LEVELS
