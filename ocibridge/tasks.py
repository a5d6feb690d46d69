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
    work: Coroutine[Any, Any, T], name: str, *, vital: bool = False, expected: type[Exception] | tuple[type[Exception], ...] = ()
) -> asyncio.Task[T]:
    """Run `work` as a task; an exception that it ends with goes to the loop's exception handler at once.

    `vital`: the daemon cannot go on without it. The handler finds the word in its context and ends the daemon.
    `expected`: exceptions that are no crash, because whoever awaits the task handles them. Cancelling is no crash either.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(partial(_report, vital=vital, expected=expected))
    return task


def _report(task: asyncio.Task[Any], *, vital: bool, expected: type[Exception] | tuple[type[Exception], ...]) -> None:
    _running.discard(task)
    if task.cancelled() or (failure := task.exception()) is None or isinstance(failure, expected):
        return
    context = {"message": f"the task {task.get_name()!r} crashed", "exception": failure, "task": task, "vital": vital}
    task.get_loop().call_exception_handler(context)
