# SPDX-License-Identifier: Apache-2.0
"""Work cut short by a request to stop has one outcome, and leaves nothing running."""

import asyncio

import pytest

from ocibridge.tasks import Stopped, unless_stopped


async def test_the_result_and_the_exception_of_the_work() -> None:
    async def fails() -> None:
        raise KeyError("x")

    assert await unless_stopped(asyncio.Event(), asyncio.sleep(0, "done")) == "done"
    with pytest.raises(KeyError):
        await unless_stopped(asyncio.Event(), fails())
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


async def test_told_to_stop() -> None:
    stop, cleaned = asyncio.Event(), []

    async def work() -> None:
        try:
            stop.set()
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    with pytest.raises(Stopped):
        await unless_stopped(stop, work())
    assert cleaned == [True]
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


async def test_cancelled_from_outside() -> None:
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    task = asyncio.ensure_future(unless_stopped(asyncio.Event(), work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [True]
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1
