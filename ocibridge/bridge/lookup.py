"""Finding a container, and finding out why Dobby said no (design 3: ask first, explain after)."""

import asyncio
import time
from typing import Any, Final, NoReturn, TypeVar

from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.config.schema import Settings
from ocibridge.errors import DobbyRefused, NoSuchContainer, Timeout, WrongState
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import Container, ContainerRef, SubState
from ocibridge.text import quoted

T = TypeVar("T")

WHERE_DOBBY_LOGS: Final = "Dobby's log says more (journalctl -u dobby)"


class Lookup:
    """Answers from the mirror where it can, and never says "there is none" without having asked Dobby."""

    def __init__(self, mirror: Mirror, dobby: DobbyApi, settings: Settings) -> None:
        self._mirror = mirror
        self._dobby = dobby
        self._settings = settings

    async def resolve(self, container_ref: ContainerRef) -> Container:
        """The container that is meant, if it is there. Raises NoSuchContainer, DobbyUnavailable, Timeout."""
        self._dobby.ensure_available()
        if isinstance(container_ref, Container):
            return self.present(container_ref, container_ref.id)
        return self._mirror.find(container_ref) or await self.look_up(
            container_ref, self._settings.now.timeouts.call
        )

    async def look_up(self, text: str, seconds: float) -> Container:
        """Ask Dobby's List for what the mirror does not know. Errors as `resolve`."""
        if await self.within(seconds, self._dobby.refresh()) is None:
            raise Timeout(
                f"whether there is a container {quoted(text)} is not known; {self._dobby.pending_summary()}"
            )
        return self.present(self._mirror.find(text), text)

    def present(self, container: Container | None, text: str) -> Container:
        """The container, if it is still there. Raises NoSuchContainer."""
        if container is None or self._mirror.find(container.id) is not container:
            raise NoSuchContainer(
                f"there is no container {quoted(text)}; listContainers names those that Dobby has"
            )
        return container

    async def refresh_state(self, container: Container, seconds: float) -> None:
        """Have the mirror know the container's state, from Dobby if it answers in time. Raises DobbyUnavailable."""
        began = time.monotonic()
        substate = await self.within(seconds, self._dobby.state(container.descriptor))
        # Only a List asked after it tells Invalid from an end in progress (design 4). One that stays Invalid has had its List.
        if substate is SubState.INVALID and container.invalid_at is not None:
            await self.within(began + seconds - time.monotonic(), self._dobby.refresh(fresh=True))

    async def within(self, seconds: float, question: "asyncio.Future[T]") -> T | None:
        """The answer, or None where it does not come in time: the mirror has to do. Raises DobbyUnavailable.

        The future is the asker's own, so it can be ended here; a task or a timeout of asyncio's would cost more.
        """
        timer = question.get_loop().call_later(seconds, _give_up, question)
        try:
            answer = await question
        finally:
            timer.cancel()
        self._dobby.ensure_available()
        return answer

    async def explain(
        self, container: Container, verb: str, needed: SubState | None, said: str
    ) -> NoReturn:
        """Dobby said no: raise what List and GetState tell of it. `needed`: the only state that allows the verb."""
        substate = await self._dobby.state(container.descriptor)
        if substate is SubState.INVALID:
            await self._dobby.refresh(fresh=True)
            self.present(container, container.id)
        elif needed is not None and substate is not needed:
            raise WrongState(f"{container}: {verb} needs it to be {needed}, and it is {substate}")
        raise DobbyRefused(f"{verb} of {container}: Dobby gave {said}. {WHERE_DOBBY_LOGS}")


def _give_up(question: "asyncio.Future[Any]") -> None:
    if not question.done():
        question.set_result(None)
