# SPDX-License-Identifier: Apache-2.0
"""getContainerState and waitForState (docs/design.md, waitForState)."""

import asyncio

from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.lookup import Lookup
from ocibridge.bridge.start import Starter
from ocibridge.bridge.waiters import StateWaiter, StateWaiters
from ocibridge.config.schema import Settings
from ocibridge.errors import DobbyUnavailable, Timeout
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import Container, ContainerRef, State, SubState, name_of
from ocibridge.text import quoted


class StateQueries:
    """Reads states from Dobby, or from the mirror after `timeouts.read`.

    Only a container that the mirror does not know may take longer.
    """

    def __init__(
        self,
        mirror: Mirror,
        dobby: DobbyApi,
        find: Lookup,
        starts: Starter,
        waits: StateWaiters,
        settings: Settings,
    ) -> None:
        self._mirror = mirror
        self._dobby = dobby
        self._find = find
        self._starter = starts
        self._waiters = waits
        self._settings = settings

    async def state(self, container_ref: ContainerRef) -> tuple[str, SubState]:
        """See `Bridge.container_state`."""
        text = name_of(container_ref)
        container = self._mirror.find(text)
        if container is None:
            self._dobby.ensure_available()
            if self._starter.is_starting(text):
                return text, SubState.STARTING
            container = await self._find.look_up(text, self._settings.now.timeouts.read)
        await self._find.refresh_state(container, self._settings.now.timeouts.read)
        return self._find.present(container, text).id, container.substate

    async def wait_for(self, container_ref: ContainerRef, word: str, seconds: float | None) -> str:
        """See `Bridge.wait_for_state`. `seconds` None: no limit."""
        self._dobby.ensure_available()
        text = name_of(container_ref)
        self._mirror.release_hold(text)
        with self._waiters.enter(text, word) as wait:
            try:
                async with asyncio.timeout(seconds):
                    await self._look(container_ref, wait)
                    return await wait.reached
            except TimeoutError:
                container = self._mirror.find(text)
                if container is not None and wait.is_for(container.substate):
                    return word  # the time was too short to ask Dobby
                now = "Dobby has no such container" if container is None else container.substate
                raise Timeout(
                    f"{quoted(text)} was not {word} within {seconds:g} s; now: {now}"
                ) from None
            except DobbyUnavailable:
                if wait.reached.done() and wait.reached.exception() is None:
                    return wait.reached.result()  # the loss of Dobby has ended the container
                raise

    async def _look(self, container_ref: ContainerRef, wait: StateWaiter) -> None:
        """Complete the wait if the state has been reached already."""
        text = name_of(container_ref)
        container = self._mirror.find(text)
        if isinstance(container_ref, Container) and container_ref is not container:
            wait.reach(State.STOPPED)
        elif container is not None:
            await self._find.refresh_state(container, self._settings.now.timeouts.read)
            wait.see(container.substate)
        elif self._starter.is_starting(text):
            wait.see(SubState.STARTING)
        else:
            await self._look_up(text, wait)

    async def _look_up(self, text: str, wait: StateWaiter) -> None:
        """Ask Dobby's List. If it has the container, the mirror's events complete the wait.

        Only its absence has to be awaited here.
        """
        listed = self._dobby.refresh()
        if wait.word == State.STOPPED:
            await listed
            if self._mirror.find(text) is None and not self._starter.is_starting(text):
                wait.reach(State.STOPPED)
