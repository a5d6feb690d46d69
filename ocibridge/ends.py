"""Ends of containers: who waits for one, and how a doubtful one is settled (design 6)."""

import asyncio
from typing import Protocol

from ocibridge.errors import BridgeError
from ocibridge.events import ContainerEnded, EndDoubted
from ocibridge.exits import Exit
from ocibridge.mirror import Mirror
from ocibridge.model import Container
from ocibridge.observations import EndBelieved

# Dobby forgets a container a moment before it says so: that long a List may be without it and no signal be lost.
GRACE_SECONDS = 0.5
# A Dobby that says "Stopped" and then no List for so long is believed.
CHECK_SECONDS = 10.0


class Lists(Protocol):
    """The one question that settles a doubt."""

    def listing(self, *, fresh: bool = False) -> "asyncio.Future[object]": ...


class Ends:
    """Told of each event of the mirror that concerns an end."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._waiting: dict[tuple[str, int], asyncio.Future[Exit]] = {}
        self._checks: dict[tuple[str, int], asyncio.Task[None]] = {}

    def of(self, container: Container) -> "asyncio.Future[Exit]":
        """Done when this container has ended. Shielded: cancelling it cancels nobody else's wait."""
        key = (container.id, container.descriptor)
        if key not in self._waiting:
            self._waiting[key] = asyncio.get_running_loop().create_future()
        return asyncio.shield(self._waiting[key])

    def is_awaited(self, container: Container) -> bool:
        """Whether somebody waits for the end of this container: it has not come yet."""
        return (container.id, container.descriptor) in self._waiting

    def ended(self, event: ContainerEnded) -> None:
        """A container has ended."""
        waiting = self._waiting.pop((event.id, event.descriptor), None)
        if waiting is not None:
            waiting.set_result(event.exit)

    def doubted(self, event: EndDoubted, dobby: Lists) -> None:
        """Ask Dobby's List about it; if that gives no answer, or still not the container, believe the end."""
        key = (event.id, event.at if not event.unannounced else 0)  # each signal is looked into, a silent absence once at a time
        if key not in self._checks:
            self._checks[key] = asyncio.get_running_loop().create_task(self._check(event, self._mirror.life or "", dobby))
            self._checks[key].add_done_callback(lambda _: self._checks.pop(key))

    async def _check(self, event: EndDoubted, life: str, dobby: Lists) -> None:
        if event.unannounced:
            await asyncio.sleep(GRACE_SECONDS)
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await dobby.listing(fresh=True)
        except (BridgeError, TimeoutError):
            if event.unannounced:
                return  # no signal and no List: nothing is known, the next List will tell
        self._mirror.observe(EndBelieved(life, event.id, event.descriptor, event.at))
