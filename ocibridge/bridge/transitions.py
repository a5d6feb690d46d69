# SPDX-License-Identifier: Apache-2.0
"""Pause, resume, hibernate, wakeup: done when Dobby reports the new state.

(docs/design.md, pauseContainer and resumeContainer; hibernateContainer and wakeupContainer)
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.lookup import WHERE_DOBBY_LOGS, Lookup
from ocibridge.bridge.waiters import ANY, StateWaiters
from ocibridge.errors import DobbyRefused, NoSuchContainer, WrongState
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import Container, SubState
from ocibridge.text import quoted

# A failure of memcr has no signal, so the state is polled (docs/dobby.md, Hibernate and Wakeup).
POLL_SECONDS: Final = 0.5
LIKELY_CAUSES: Final = "Dobby was built without hibernation, or memcr is missing or failed"


class Transitions:
    """Each operation raises WrongState, DobbyRefused, and NoSuchContainer if the container ends."""

    def __init__(self, mirror: Mirror, dobby: DobbyApi, find: Lookup, waits: StateWaiters) -> None:
        self._mirror = mirror
        self._dobby = dobby
        self._find = find
        self._waiters = waits

    async def pause(self, container: Container) -> None:
        """Pause. Returns when Dobby reports it paused."""
        await self._confirm(
            container,
            "pauseContainer",
            self._dobby.pause(container),
            SubState.RUNNING,
            SubState.PAUSED,
        )

    async def resume(self, container: Container) -> None:
        """Resume. Returns when Dobby reports it running."""
        await self._confirm(
            container,
            "resumeContainer",
            self._dobby.resume(container),
            SubState.PAUSED,
            SubState.RUNNING,
        )

    async def hibernate(self, container: Container, options: str) -> None:
        """Hibernate. Returns when it is done. Raises WrongState also if a wakeup interrupts it."""
        as_of = self._mirror.position
        if not await self._dobby.hibernate(container, options):
            await self._find.explain(container, "hibernateContainer", SubState.RUNNING, "no reason")

        def is_done() -> bool:
            return container.reported is SubState.HIBERNATED or container.hibernated_at > as_of

        if not await self._pass(container, "hibernateContainer", SubState.HIBERNATING, is_done):
            substate = container.reported
            # Awoken comes a moment after the state has changed; this answer comes after it.
            await self._dobby.state(container.descriptor, fresh=True)
            if substate is SubState.AWAKENING or container.awoken_at > as_of:
                raise WrongState(
                    f"hibernateContainer: {container} was woken before it was hibernated"
                )
            raise _failed(container, "hibernateContainer")

    async def wakeup(self, container: Container) -> None:
        """Wake up. Returns when it is done. A container that is still hibernating can be woken."""
        as_of = self._mirror.position
        if not await self._dobby.wakeup(container):
            await self._find.explain(container, "wakeupContainer", SubState.HIBERNATED, "no reason")

        def is_done() -> bool:
            return container.reported is SubState.RUNNING or container.awoken_at > as_of

        if not await self._pass(container, "wakeupContainer", SubState.AWAKENING, is_done):
            raise _failed(container, "wakeupContainer")

    async def _confirm(
        self,
        container: Container,
        verb: str,
        request: Awaitable[bool],
        needed: SubState,
        wanted: SubState,
    ) -> None:
        """Check the outcome by GetState: Dobby's reply misleads in both directions.

        GetState is sent directly after the request, so that no other call comes between.
        """
        check = self._dobby.state(container.descriptor, fresh=True)
        if not await request:
            await self._find.explain(container, verb, needed, "no reason")
        substate = await check
        if substate is not wanted:  # the request may have been held, and overtaken by the check
            substate = await self._dobby.state(container.descriptor, fresh=True)
        await self._check_present(container, substate, verb)
        if substate is not wanted:
            raise DobbyRefused(
                f"Dobby accepted {verb}, but {container} is not {wanted}. {WHERE_DOBBY_LOGS}"
            )

    async def _pass(
        self, container: Container, verb: str, passing: SubState, is_done: Callable[[], bool]
    ) -> bool:
        """Whether `is_done`, as soon as that is true or the state is no longer `passing`.

        The signal may come before or after the state changes, or never.
        """
        while True:
            with self._waiters.enter(container.id, ANY) as change:
                substate = await self._dobby.state(container.descriptor, fresh=True)
                await self._check_present(container, substate, verb)
                if is_done() or container.reported is not passing:
                    return is_done()
                await asyncio.wait([change.reached], timeout=POLL_SECONDS)

    async def _check_present(self, container: Container, substate: SubState, verb: str) -> None:
        """Raise NoSuchContainer if the container has ended."""
        if substate is SubState.INVALID:
            # Only a later List tells Invalid from an end in progress (docs/design.md, States).
            await self._dobby.refresh(fresh=True)
        if self._mirror.find(container.id) is not container:
            raise NoSuchContainer(f"{quoted(container.id)} ended during {verb}")


def _failed(container: Container, verb: str) -> DobbyRefused:
    return DobbyRefused(
        f"Dobby accepted {verb}, but {container} is {container.reported}: {LIKELY_CAUSES}. "
        f"{WHERE_DOBBY_LOGS}"
    )
