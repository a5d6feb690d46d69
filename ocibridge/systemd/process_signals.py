"""The process's signals (design 11, 12), from its first moment to its last: none may end it by accident, and none is lost."""

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # it takes its time, in which a signal may come
    import asyncio

RELOAD: Final = signal.SIGHUP
ENDS: Final = (signal.SIGTERM, signal.SIGINT)
# They mean nothing here, and would kill who does not say so.
MEANINGLESS: Final = (signal.SIGUSR1, signal.SIGUSR2)


def hold_back() -> None:
    """Before anything else: a reload waits until there is somebody to do it; SIGTERM and SIGINT just end the process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {RELOAD})
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own would show a traceback
    for number in MEANINGLESS:
        signal.signal(number, signal.SIG_IGN)


def take_ends(loop: "asyncio.AbstractEventLoop", stop: Callable[[], None]) -> None:
    """From now on SIGTERM and SIGINT are calls on the loop. Before the bus is opened: it may never answer."""
    for number in ENDS:
        loop.add_signal_handler(number, stop)


def take_reload(loop: "asyncio.AbstractEventLoop", reload: Callable[[], None]) -> None:
    """From now on SIGHUP is a call on the loop, also one that has been held back."""
    loop.add_signal_handler(RELOAD, reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {RELOAD})


def shut_out() -> None:
    """The loop is about to end, and its handlers with it: the process ends by itself from here."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {RELOAD, *ENDS})
