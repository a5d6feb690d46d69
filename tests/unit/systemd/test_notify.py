# SPDX-License-Identifier: Apache-2.0
"""Notifications to systemd (sd_notify(3))."""

import asyncio
import os

import pytest

from ocibridge.systemd import notify
from ocibridge.systemd.notify import Notify


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    messages: list[str] = []
    monkeypatch.setattr(notify, "notify", messages.append)
    return messages


def test_the_notifications_of_a_run(sent: list[str]) -> None:
    n = Notify()
    n.starting("looking", 10)
    n.status("too early")
    n.reloading()
    n.reloaded("too early")
    n.ready("ready, 0 containers")
    n.status("ready, 0 containers")
    n.status("ready, 1 container")
    n.reloading()
    n.reloaded("ready, 1 container; x")
    n.stopping("stopping")
    n.status("too late")
    monotonic = sent.pop(3)
    assert sent == [
        "STATUS=looking\nEXTEND_TIMEOUT_USEC=40000000",
        "READY=1\nSTATUS=ready, 0 containers",
        "STATUS=ready, 1 container",
        "READY=1\nSTATUS=ready, 1 container; x",
        "STOPPING=1\nSTATUS=stopping",
    ]
    assert monotonic.startswith("RELOADING=1\nMONOTONIC_USEC=")


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "2000000"}, 2),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}, 2),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
    ],
)
def test_the_watchdog_time(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], seconds: float
) -> None:
    for key in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert notify._watchdog_seconds() == seconds


async def test_the_watchdog_is_fed_as_long_as_the_loop_runs(
    sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    thrice = asyncio.Event()

    def tell(message: str) -> None:
        sent.append(message)
        if len(sent) == 3:
            thrice.set()

    monkeypatch.setattr(notify, "notify", tell)
    feeding = asyncio.create_task(Notify().feed_watchdog())
    await asyncio.wait_for(thrice.wait(), 10)
    feeding.cancel()
    assert set(sent) == {"WATCHDOG=1"}


def test_a_socket_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
    Notify().ready("ready")


async def test_without_a_watchdog_nothing_is_fed(
    sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    await Notify().feed_watchdog()
    assert sent == []
