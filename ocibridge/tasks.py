"""Background tasks: the one way to start them, which keeps the reference and reports a crash.

asyncio keeps only a weak reference to a task, and shows a task's exception when the task is collected, which may be never.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_running: set[asyncio.Task[Any]] = set()


def spawn(work: Coroutine[Any, Any, T], name: str, *, vital: bool = False) -> asyncio.Task[T]:
    """Run `work` as a task; an exception that it ends with goes to the loop's exception handler at once.

    `vital`: the daemon cannot go on without it. The handler finds the word in its context and ends the daemon.
    Cancelling is no crash.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(_vital_done if vital else _done)
    return task


def _done(task: asyncio.Task[Any]) -> None:
    _report(task, vital=False)


def _vital_done(task: asyncio.Task[Any]) -> None:
    _report(task, vital=True)


def _report(task: asyncio.Task[Any], *, vital: bool) -> None:
    _running.discard(task)
    if task.cancelled() or (failure := task.exception()) is None:
        return
    context = {"message": f"the task {task.get_name()!r} crashed", "exception": failure, "task": task, "vital": vital}
    task.get_loop().call_exception_handler(context)
