# SPDX-License-Identifier: Apache-2.0
"""Waiting until a container reaches a state (docs/design.md, waitForState).

Waiters are served synchronously with the mirror's events, not when the waiting coroutine runs. So a
state that was reached and left again in between still counts.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ocibridge.errors import BridgeError, DobbyUnavailable
from ocibridge.mirror.events import (
    ContainerEnded,
    ContainerStarted,
    Event,
    PendingStartsChanged,
    StateChanged,
    StatusChanged,
    UnannouncedEnd,
)
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import DobbyStatus, State, SubState
from ocibridge.text import quoted

# As a waiter's word: every state will do.
ANY: Final = ""


class StateWaiter:
    """One wait. `word`: the State or SubState that is waited for, or ANY.

    `reached` is a future: its result is the word that was reached, its exception a BridgeError.
    """

    def __init__(self, word: str) -> None:
        self.word = word
        self.reached: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def reach(self, word: str) -> None:
        """Finish the wait with `word`."""
        if not self.reached.done():
            self.reached.set_result(word)

    def fail(self, error: BridgeError) -> None:
        """Finish the wait with an error."""
        if not self.reached.done():
            self.reached.set_exception(error)

    def give_up(self) -> None:
        """Finish the wait without a result."""
        if not self.reached.cancel() and not self.reached.cancelled():
            self.reached.exception()  # retrieved, or asyncio would log it

    def is_for(self, substate: SubState) -> bool:
        """Whether that substate, or its state, is waited for."""
        return self.word in {ANY, substate.value, substate.state.value}

    def see(self, substate: SubState) -> None:
        """The container is in that substate now."""
        if self.is_for(substate):
            self.reach(self.word)


class StateWaiters:
    """All waits, by the text that names their container: an id or a descriptor."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._waiters: dict[str, list[StateWaiter]] = {}

    @contextmanager
    def enter(self, text: str, word: str) -> Iterator[StateWaiter]:
        """Wait inside the block. The present state is not considered, only changes from now on."""
        waiter = StateWaiter(word)
        self._waiters.setdefault(text, []).append(waiter)
        try:
            yield waiter
        finally:
            waiter.give_up()
            self._waiters[text].remove(waiter)
            if not self._waiters[text]:
                del self._waiters[text]

    def on_event(self, event: Event) -> None:
        """Take in an event of the mirror."""
        match event:
            case ContainerStarted() | StateChanged():
                for waiter in self._of(event.id, event.descriptor):
                    waiter.see(event.substate)
            case ContainerEnded() | UnannouncedEnd():
                for waiter in self._of(event.id, event.descriptor):
                    waiter.reach(State.STOPPED.value)
            case PendingStartsChanged() if self._mirror.find(event.id) is None:
                self._pending_start_changed(event.id)
            case StatusChanged() if event.status is DobbyStatus.ABSENT:
                self._dobby_lost()
            case _:
                pass

    def concern(self, container_id: str, descriptor: int) -> bool:
        """Whether a wait concerns that container."""
        return bool(self._of(container_id, descriptor))

    def _of(self, container_id: str, descriptor: int) -> list[StateWaiter]:
        return [*self._waiters.get(container_id, ()), *self._waiters.get(str(descriptor), ())]

    def _pending_start_changed(self, container_id: str) -> None:
        """A start of a container that does not exist yet has begun or failed."""
        now = SubState.STARTING if self._mirror.is_starting(container_id) else SubState.STOPPED
        for waiter in self._of(container_id, 0):
            waiter.see(now)

    def _dobby_lost(self) -> None:
        """Known containers have ended, also those missing from a List; others cannot start."""
        for text, waiters in self._waiters.items():
            is_known = self._mirror.is_known(text)
            for waiter in waiters:
                if is_known:
                    waiter.reach(State.STOPPED.value)
                else:
                    waiter.fail(
                        DobbyUnavailable(
                            f"Dobby left the bus before container {quoted(text)} was started"
                        )
                    )
