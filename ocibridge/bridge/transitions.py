"""Changes of state that Dobby does not announce, or only begins (design 3): done when Dobby shows them."""

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

# memcr may fail without a signal (facts, Hibernate): so often it is looked whether the state has gone back.
LOOK_AGAIN_SECONDS: Final = 0.5
MAY_LACK: Final = "it has no hibernation built in, or memcr is not there or failed"


class Transitions:
    """Pause, resume, hibernate, wakeup. Each raises WrongState, DobbyRefused, and NoSuchContainer where it ends meanwhile."""

    def __init__(self, mirror: Mirror, dobby: DobbyApi, find: Lookup, waits: StateWaiters) -> None:
        self._mirror = mirror
        self._dobby = dobby
        self._find = find
        self._waiters = waits

    async def pause(self, container: Container) -> None:
        """Until Dobby shows it paused."""
        await self._confirm(
            container,
            "pauseContainer",
            self._dobby.pause(container),
            SubState.RUNNING,
            SubState.PAUSED,
        )

    async def resume(self, container: Container) -> None:
        """Until Dobby shows it running."""
        await self._confirm(
            container,
            "resumeContainer",
            self._dobby.resume(container),
            SubState.PAUSED,
            SubState.RUNNING,
        )

    async def hibernate(self, container: Container, options: str) -> None:
        """Until Dobby shows it hibernated. Raises WrongState also where a wakeup came first."""
        asked = self._mirror.position
        if not await self._dobby.hibernate(container, options):
            await self._find.explain(container, "hibernateContainer", SubState.RUNNING, "no reason")

        def is_done() -> bool:
            return container.reported is SubState.HIBERNATED or container.hibernated_at > asked

        if not await self._pass(container, "hibernateContainer", SubState.HIBERNATING, is_done):
            substate = container.reported
            await self._dobby.state(
                container.descriptor, fresh=True
            )  # Awoken is signalled a moment after the state has changed
            if substate is SubState.AWAKENING or container.awoken_at > asked:
                raise WrongState(
                    f"hibernateContainer: {container} was woken by a wakeup before it was hibernated"
                )
            raise _failed(container, "hibernateContainer")

    async def wakeup(self, container: Container) -> None:
        """Until Dobby shows it running. What is still hibernating can be woken as well."""
        asked = self._mirror.position
        if not await self._dobby.wakeup(container):
            await self._find.explain(container, "wakeupContainer", SubState.HIBERNATED, "no reason")

        def is_done() -> bool:
            return container.reported is SubState.RUNNING or container.awoken_at > asked

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
        """Believe neither the yes nor the no: GetState tells, sent right behind the request so that nobody comes between."""
        check = self._dobby.state(container.descriptor, fresh=True)
        if not await request:
            await self._find.explain(container, verb, needed, "no reason")
        substate = await check
        if (
            substate is not wanted
        ):  # the request may have been held back, and overtaken by the check
            substate = await self._dobby.state(container.descriptor, fresh=True)
        if substate is SubState.INVALID:
            raise NoSuchContainer(f"{quoted(container.id)} ended during {verb}")
        if substate is not wanted:
            raise DobbyRefused(
                f"Dobby accepted {verb}, yet {container} is not {wanted}. {WHERE_DOBBY_LOGS}"
            )

    async def _pass(
        self, container: Container, verb: str, passing: SubState, is_done: Callable[[], bool]
    ) -> bool:
        """Whether it is done, as soon as its state is no longer `passing`; the signal may come at any time, or never."""
        while True:
            with self._waiters.enter(container.id, ANY) as change:
                substate = await self._dobby.state(container.descriptor, fresh=True)
                if substate is SubState.INVALID or self._mirror.find(container.id) is not container:
                    raise NoSuchContainer(f"{quoted(container.id)} ended during {verb}")
                if is_done() or container.reported is not passing:
                    return is_done()
                await asyncio.wait([change.reached], timeout=LOOK_AGAIN_SECONDS)


def _failed(container: Container, verb: str) -> DobbyRefused:
    return DobbyRefused(
        f"Dobby accepted {verb}, yet {container} is {container.reported}: {MAY_LACK}. {WHERE_DOBBY_LOGS}"
    )
