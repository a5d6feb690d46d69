# SPDX-License-Identifier: Apache-2.0
"""Background tasks are kept, and their crashes are reported."""

import asyncio
import gc
from typing import Any

import pytest

from ocibridge.tasks import spawn


@pytest.fixture
async def reports() -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
    return seen


async def crash() -> None:
    raise ZeroDivisionError("on purpose")


@pytest.mark.parametrize("vital", [False, True])
async def test_a_crash_is_reported_once_and_at_once(
    reports: list[dict[str, Any]], vital: bool
) -> None:
    task = spawn(crash(), "sweep", vital=vital)
    await asyncio.wait([task])
    await asyncio.sleep(0)
    (report,) = reports
    assert "sweep" in report["message"]
    assert isinstance(report["exception"], ZeroDivisionError)
    assert report["vital"] is vital


async def test_a_task_that_nobody_keeps_goes_on() -> None:
    done = asyncio.Event()
    go_on = asyncio.Event()

    async def work() -> None:
        await go_on.wait()
        done.set()

    spawn(work(), "kept")
    await asyncio.sleep(0)
    gc.collect()
    go_on.set()
    async with asyncio.timeout(5):
        await done.wait()


async def test_cancelling_is_no_crash(reports: list[dict[str, Any]]) -> None:
    task = spawn(asyncio.sleep(3600), "cancelled")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert reports == []


async def test_what_whoever_awaits_it_expects_is_no_crash(reports: list[dict[str, Any]]) -> None:
    task = spawn(crash(), "shared", expected=ArithmeticError)
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert reports == []
    with pytest.raises(ZeroDivisionError):
        await task
