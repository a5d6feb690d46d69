# SPDX-License-Identifier: Apache-2.0
"""Finds containers, and the reasons for Dobby's refusals (docs/design.md, The verbs)."""

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
    """Answers from the mirror where possible. Asks Dobby before it raises NoSuchContainer."""

    def __init__(self, mirror: Mirror, dobby: DobbyApi, settings: Settings) -> None:
        self._mirror = mirror
        self._dobby = dobby
        self._settings = settings

    async def resolve(self, container_ref: ContainerRef) -> Container:
        """The container. Raises NoSuchContainer, DobbyUnavailable, Timeout."""
        self._dobby.ensure_available()
        if isinstance(container_ref, Container):
            return self.present(container_ref, container_ref.id)
        return self._mirror.find(container_ref) or await self.look_up(
            container_ref, self._settings.now.timeouts.call
        )

    async def look_up(self, text: str, seconds: float) -> Container:
        """Ask Dobby's List for a container that the mirror does not know. Errors as `resolve`."""
        if await self.within(seconds, self._dobby.refresh()) is None:
            raise Timeout(
                f"it is not known whether there is a container {quoted(text)}; "
                f"{self._dobby.pending_summary()}"
            )
        return self.present(self._mirror.find(text), text)

    def present(self, container: Container | None, text: str) -> Container:
        """The container, if it still exists. Raises NoSuchContainer."""
        if container is None or self._mirror.find(container.id) is not container:
            raise NoSuchContainer(
                f"there is no container {quoted(text)}; listContainers names those that Dobby has"
            )
        return container

    async def refresh_state(self, container: Container, seconds: float) -> None:
        """Update the mirror by GetState, for at most `seconds`. Raises DobbyUnavailable."""
        began = time.monotonic()
        substate = await self.within(seconds, self._dobby.state(container.descriptor))
        # Only a later List tells Invalid from an end in progress (docs/design.md, States). A
        # container that stays Invalid has had its List already.
        if substate is SubState.INVALID and container.invalid_at is not None:
            await self.within(began + seconds - time.monotonic(), self._dobby.refresh(fresh=True))

    async def within(self, seconds: float, call: "asyncio.Future[T]") -> T | None:
        """The reply to `call`, or None after `seconds`. Raises DobbyUnavailable.

        The future belongs to the caller alone, so it can be ended here. A task or asyncio.timeout
        would cost more.
        """
        timer = call.get_loop().call_later(seconds, _give_up, call)
        try:
            answer = await call
        finally:
            timer.cancel()
        self._dobby.ensure_available()
        return answer

    async def explain(
        self, container: Container, verb: str, needed: SubState | None, said: str
    ) -> NoReturn:
        """Raise the reason for Dobby's refusal, as List and GetState show it.

        `needed`: the only state in which `verb` is possible, None if any. `said`: what Dobby gave,
        for the text of DobbyRefused. Raises NoSuchContainer, WrongState, DobbyRefused.
        """
        substate = await self._dobby.state(container.descriptor)
        if substate is SubState.INVALID:
            await self._dobby.refresh(fresh=True)
            self.present(container, container.id)
        elif needed is not None and substate is not needed:
            raise WrongState(f"{container}: {verb} needs it to be {needed}, and it is {substate}")
        raise DobbyRefused(f"{verb} of {container}: Dobby gave {said}. {WHERE_DOBBY_LOGS}")


def _give_up(call: "asyncio.Future[Any]") -> None:
    if not call.done():
        call.set_result(None)
