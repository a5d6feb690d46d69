# SPDX-License-Identifier: Apache-2.0
"""POSIX signals of the process, from its start to its end: none is lost, none ends it by accident.

(docs/design.md, systemd and the journal)
"""

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # importing asyncio takes long enough for a signal to arrive
    import asyncio

RELOAD_SIGNAL: Final = signal.SIGHUP
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# Unused; ignored, because the default action ends the process.
UNUSED: Final = (signal.SIGUSR1, signal.SIGUSR2)


def set_up() -> None:
    """Call before anything else. SIGHUP stays pending; SIGTERM and SIGINT end the process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {RELOAD_SIGNAL})
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler would print a traceback
    for number in UNUSED:
        signal.signal(number, signal.SIG_IGN)


def handle_stop(loop: "asyncio.AbstractEventLoop", stop: Callable[[], None]) -> None:
    """Have SIGTERM and SIGINT call `stop`. Call this before opening the bus, which can hang."""
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)


def handle_reload(loop: "asyncio.AbstractEventLoop", reload: Callable[[], None]) -> None:
    """Have SIGHUP call `reload`, also if one is pending."""
    loop.add_signal_handler(RELOAD_SIGNAL, reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {RELOAD_SIGNAL})


def block_all() -> None:
    """Block them again: the loop is about to end with its handlers, and the process after it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {RELOAD_SIGNAL, *STOP_SIGNALS})
