# SPDX-License-Identifier: Apache-2.0
"""Log entries on a terminal and in the journal, and the catalog of MESSAGE_IDs."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import structlog

from ocibridge import event_log
from ocibridge.mirror.events import ContainerEnded, Event, StatusChanged
from ocibridge.model import Caller, DobbyStatus, Exit, Reason, SubState
from ocibridge.systemd.journal import LEVELS, Journal
from ocibridge.systemd.journal_socket import JournalSocket
from ocibridge.systemd.message_ids import MessageId

CATALOG = Path(__file__).parents[3] / "systemd" / "ocibridge.catalog"
MANUAL = Path(__file__).parents[3] / "man"


def test_each_level_lets_through_what_it_should(capsys: pytest.CaptureFixture[str]) -> None:
    log, passed = structlog.get_logger(), {}
    for level in LEVELS:
        Journal(level)
        for method in ("debug", "info", "warning", "error"):
            getattr(log, method)(method)
        passed[level] = re.findall(r"ocibridge: \w+: (\w+)\n", capsys.readouterr().err)
    assert passed["debug"] == ["debug", "info", "warning", "error"]
    assert passed["info"] == ["info", "warning", "error"]
    assert passed["notice"] == passed["warning"] == ["warning", "error"]
    assert passed["err"] == ["error"]
    assert passed["crit"] == passed["alert"] == passed["emerg"] == []


def test_the_word_of_the_configuration_is_taken_too() -> None:
    log = Journal("error")
    assert log.level == "err"
    log.level = "debug"
    log.level = "error"
    assert log.level == "err"


def test_a_wrong_word_changes_nothing() -> None:
    log = Journal("warning")
    with pytest.raises(KeyError):
        log.level = "loud"
    with pytest.raises(KeyError):
        log.target = "printer"
    assert (log.level, log.target) == ("warning", "console")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The entries sent to the journal."""
    entries: list[dict[str, str]] = []

    def send(_: JournalSocket, fields: Iterable[tuple[str, object]]) -> None:
        entries.append({name: str(value) for name, value in fields})

    monkeypatch.setattr(JournalSocket, "send", send)
    Journal().target = "journal"
    return entries


def test_an_entry_of_the_journal(
    sent: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.get_logger().warning(
        "a = b", CONTAINER_ID="x", DESCRIPTOR=7, MESSAGE_ID=MessageId.BUG, reason="why"
    )
    assert sent == [
        {
            "CONTAINER_ID": "x",
            "DESCRIPTOR": "7",
            "MESSAGE_ID": MessageId.BUG.value,
            "MESSAGE": "a = b: why",
            "PRIORITY": "4",
            "SYSLOG_IDENTIFIER": "ocibridge",
        }
    ]
    assert capsys.readouterr() == ("", "")


def test_a_traceback_is_in_the_message(sent: list[dict[str, str]]) -> None:
    try:
        raise ValueError("inside")
    except ValueError:
        structlog.get_logger().exception("outside")
    assert sent[0]["MESSAGE"].startswith("outside\nTraceback")
    assert (sent[0]["PRIORITY"], "ValueError: inside" in sent[0]["MESSAGE"]) == ("3", True)


CALLER = Caller(":1.9", 0, 42, "busctl")


@pytest.mark.parametrize(
    ("event", "message_id", "fields"),
    [
        (
            StatusChanged(DobbyStatus.ABSENT),
            MessageId.DOBBY_LOST,
            {"DOBBY_STATUS": "absent", "PRIORITY": "4"},
        ),
        (
            StatusChanged(DobbyStatus.READY),
            MessageId.DOBBY_READY,
            {"DOBBY_STATUS": "ready", "PRIORITY": "6"},
        ),
        (
            StatusChanged(DobbyStatus.DEAF),
            MessageId.DOBBY_DEAF,
            {"DOBBY_STATUS": "deaf", "PRIORITY": "4"},
        ),
        (
            StatusChanged(DobbyStatus.STALLED),
            MessageId.DOBBY_STALLED,
            {"DOBBY_STATUS": "stalled", "PRIORITY": "4"},
        ),
        (StatusChanged(DobbyStatus.STARTING), None, {"DOBBY_STATUS": "starting", "PRIORITY": "6"}),
        (
            ContainerEnded("x", 7, SubState.RUNNING, Exit(Reason.CRASHED, 139, None, 0, 1)),
            MessageId.CONTAINER_FAILED,
            {
                "CONTAINER_ID": "x",
                "DESCRIPTOR": "7",
                "EXIT_REASON": "crashed",
                "WAIT_STATUS": "139",
                "PRIORITY": "4",
            },
        ),
        (
            ContainerEnded("x", 7, SubState.RUNNING, Exit(Reason.REQUESTED, 15, CALLER, 0, 1)),
            None,
            {
                "EXIT_REASON": "requested",
                "SENDER": ":1.9",
                "CALLER_UID": "0",
                "CALLER_PID": "42",
                "CALLER_COMM": "busctl",
                "PRIORITY": "6",
            },
        ),
    ],
)
def test_the_entry_of_an_event(
    sent: list[dict[str, str]], event: Event, message_id: str | None, fields: dict[str, Any]
) -> None:
    event_log.record(event, ":1.5")
    (entry,) = sent
    assert entry.get("MESSAGE_ID") == message_id
    assert fields | {"DOBBY_OWNER": ":1.5"} == {key: entry[key] for key in [*fields, "DOBBY_OWNER"]}


def catalog() -> dict[str, str]:
    entries = re.split(r"^-- ([0-9a-f]{32})\n", CATALOG.read_text(), flags=re.MULTILINE)[1:]
    return dict(zip(entries[::2], entries[1::2], strict=True))


def test_the_catalog_explains_every_message_id() -> None:
    assert set(catalog()) == {message_id.value for message_id in MessageId}


@pytest.mark.parametrize("message_id", list(MessageId))
def test_an_entry_of_the_catalog(message_id: MessageId) -> None:
    head, _, body = catalog()[message_id].partition("\n\n")
    assert head.splitlines()[0].startswith("Subject: ")
    assert "Defined-By: ocibridge" in head
    (page, section) = re.findall(r"^Documentation: man:(\S+)\((\d)\)$", head, re.MULTILINE)[0]
    assert (MANUAL / f"{page}.{section}.rst").exists()
    assert len(body.split("\n\n")) >= 2, "what has happened, then what to do"
    assert max(map(len, body.splitlines())) <= 76


@pytest.mark.parametrize(
    "comm", ["\x1b[2J\nocibridge: info: all is well", "a\rb", "a\u2028b", "a\u202eb"]
)
def test_a_name_of_a_process_forges_no_line(capsys: pytest.CaptureFixture[str], comm: str) -> None:
    """A program can choose its own comm (prctl(2), PR_SET_NAME)."""
    Journal()
    structlog.get_logger().info(f"stopContainer by {Caller(':1.7', 0, 1, comm)}")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.removeprefix("ocibridge: info: ").isprintable()
