"""Waiting for a container to reach a state (design 3, waitForState): told by the mirror's events, as they happen.

The events are looked at when they come, not when the one who waits gets to run: a state that was reached and left
again meanwhile has been reached.
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
)
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import DobbyStatus, State, SubState
from ocibridge.text import quoted

ANY: Final = ""


class StateWaiter:
    """One wait: `reached` is done with the word that was reached."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.reached: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def reach(self, word: str) -> None:
        """It is over."""
        if not self.reached.done():
            self.reached.set_result(word)

    def fail(self, error: BridgeError) -> None:
        """It will not come."""
        if not self.reached.done():
            self.reached.set_exception(error)

    def give_up(self) -> None:
        """Nobody waits any more."""
        if not self.reached.cancel() and not self.reached.cancelled():
            self.reached.exception()  # known, or of no interest any more

    def see(self, substate: SubState) -> None:
        """The container is in that substate."""
        if self.word in {ANY, substate.value, substate.state.value}:
            self.reach(self.word)


class StateWaiters:
    """Those under way, by the text that names their container: an id, or a descriptor."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._waiters: dict[str, list[StateWaiter]] = {}

    @contextmanager
    def enter(self, text: str, word: str) -> Iterator[StateWaiter]:
        """Wait from now on for what comes; what is there already is not looked at."""
        wait = StateWaiter(word)
        self._waiters.setdefault(text, []).append(wait)
        try:
            yield wait
        finally:
            wait.give_up()
            self._waiters[text].remove(wait)
            if not self._waiters[text]:
                del self._waiters[text]

    def on_event(self, event: Event) -> None:
        """An event of the mirror."""
        match event:
            case ContainerStarted() | StateChanged():
                for wait in self._of(event.id, event.descriptor):
                    wait.see(event.substate)
            case ContainerEnded():
                for wait in self._of(event.id, event.descriptor):
                    wait.reach(State.STOPPED.value)
            case PendingStartsChanged() if self._mirror.find(event.id) is None:
                self._plans_changed(event.id)
            case StatusChanged() if event.status is DobbyStatus.ABSENT:
                self._dobby_gone()
            case _:
                pass

    def concern(self, container_id: str, descriptor: int) -> bool:
        """Whether somebody waits for anything of that container."""
        return bool(self._of(container_id, descriptor))

    def _of(self, container_id: str, descriptor: int) -> list[StateWaiter]:
        return [*self._waiters.get(container_id, ()), *self._waiters.get(str(descriptor), ())]

    def _plans_changed(self, container_id: str) -> None:
        """A start of what is not there yet has begun, or has failed."""
        now = SubState.STARTING if self._mirror.is_starting(container_id) else SubState.STOPPED
        for wait in self._of(container_id, 0):
            wait.see(now)

    def _dobby_gone(self) -> None:
        """What was there has ended with Dobby, also where no List had it any more; what was not will not come."""
        for text, waits in self._waiters.items():
            is_known = self._mirror.is_known(text)
            for wait in waits:
                if is_known:
                    wait.reach(State.STOPPED.value)
                else:
                    wait.fail(
                        DobbyUnavailable(
                            f"Dobby went away before there was a container {quoted(text)}"
                        )
                    )
