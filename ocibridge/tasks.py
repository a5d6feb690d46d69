"""Background tasks: the one way to start them, which keeps the reference and reports a crash.

asyncio keeps only a weak reference to a task, and shows a task's exception when the task is collected, which may be never.
"""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_running: set[asyncio.Task[Any]] = set()


def spawn(
    work: Coroutine[Any, Any, T],
    name: str,
    *,
    vital: bool = False,
    expected: type[Exception] | tuple[type[Exception], ...] = (),
) -> asyncio.Task[T]:
    """Run `work` as a task; an exception that it ends with goes to the loop's exception handler at once.

    `vital`: the daemon cannot go on without it. The handler finds the word in its context and ends the daemon.
    `expected`: exceptions that are no crash, because whoever awaits the task handles them. Cancelling is no crash either.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(partial(_report, vital=vital, expected=expected))
    return task


def _report(
    task: asyncio.Task[Any], *, vital: bool, expected: type[Exception] | tuple[type[Exception], ...]
) -> None:
    _running.discard(task)
    if task.cancelled() or (failure := task.exception()) is None or isinstance(failure, expected):
        return
    context = {
        "message": f"the task {task.get_name()!r} crashed",
        "exception": failure,
        "task": task,
        "vital": vital,
    }
    task.get_loop().call_exception_handler(context)


class Stopped(Exception):
    """The daemon was told to stop before the work was done."""


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, or its exception. Raises Stopped, with `work` cancelled, where `stop` is set first."""
    task = asyncio.ensure_future(work)
    told = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((task, told), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Stopped
        return task.result()
    finally:
        told.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))  # until its own clean-up is done
