# SPDX-License-Identifier: Apache-2.0
"""Background tasks and deferred calls.

`spawn` is the way to start a background task. It keeps a reference, since asyncio's own is weak. It
reports a crash at once; asyncio does so when the task is collected, which may be never.
"""

import asyncio
from collections.abc import Callable, Coroutine
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
    """Run `work` as a task. If it raises, the event loop's exception handler is called at once.

    `vital`: the daemon cannot go on without it. The handler gets "vital" in its context, and ends
    the daemon. `expected`: exceptions that are no crash, because the code that awaits the task
    handles them. Cancellation is no crash either.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)
    if vital or expected:
        task.add_done_callback(partial(_report, vital=vital, expected=expected))
    else:
        task.add_done_callback(_report)  # each call of a method is a task: no partial for these
    return task


def _report(
    task: asyncio.Task[Any],
    *,
    vital: bool = False,
    expected: type[Exception] | tuple[type[Exception], ...] = (),
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
    """`stop` was set before the work was done."""


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. If `stop` is set first, cancels `work` and raises Stopped."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Stopped
        return task.result()
    finally:
        stopping.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))  # for its own clean-up


class OncePerTick:
    """Calling it schedules `do` once for the end of the current loop iteration, however often."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do
        self._is_scheduled = False

    def __call__(self) -> None:
        """Schedule `do`, unless it is scheduled already."""
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._is_scheduled = False
        self._do()
