"""Ends of containers: who waits for one, how a doubtful one is settled, and how long one is held back (design 5, 6)."""

import asyncio
from typing import Final, Protocol

from ocibridge.errors import BridgeError, NoSuchContainer
from ocibridge.mirror.events import ContainerEnded, EndHeld, EndUnconfirmed
from ocibridge.mirror.mirror import Mirror
from ocibridge.mirror.observations import EndConfirmed, HoldOver
from ocibridge.model import Container, Exit
from ocibridge.tasks import spawn
from ocibridge.text import quoted

# Dobby forgets a container a moment before it says so: that long a List may be without it and no signal be lost.
GRACE_SECONDS = 0.5
# A Dobby that says "Stopped" and then no List for so long is believed.
CHECK_SECONDS = 10.0
# systemd stops Dobby's containers before Dobby, whose name then goes within this time (47 ms to 1.1 s were seen).
HOLD_SECONDS = 1.5


class Lists(Protocol):
    """The one question that settles a doubt."""

    def refresh(self, *, fresh: bool = False) -> "asyncio.Future[object]": ...


class Ends:
    """Told of each event of the mirror that concerns an end."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._waiting: dict[tuple[str, int], asyncio.Future[Exit]] = {}
        self._checks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._holds: dict[tuple[str, int], tuple[asyncio.TimerHandle, HoldOver]] = {}

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
        self._drop_hold((event.id, event.descriptor))
        waiting = self._waiting.pop((event.id, event.descriptor), None)
        if waiting is not None:
            waiting.set_result(event.exit)

    def end_unconfirmed(self, event: EndUnconfirmed, dobby: Lists) -> None:
        """Ask Dobby's List about it; if that gives no answer, or still not the container, believe the end."""
        key = (
            event.id,
            event.at if not event.unannounced else 0,
        )  # each signal is looked into, a silent absence once at a time
        if key not in self._checks:
            self._checks[key] = spawn(
                self._check(event, self._mirror.owner or "", dobby),
                f"check whether {event.id} has ended",
            )
            self._checks[key].add_done_callback(lambda _: self._checks.pop(key))

    def held(self, event: EndHeld, *, awaited: bool) -> None:
        """Hold an end back until Dobby has had the time to leave; not at all where somebody waits for that container."""
        key = event.id, event.descriptor
        self._drop_hold(key)
        over = HoldOver(self._mirror.owner or "", event.id, event.descriptor, event.at)
        timer = asyncio.get_running_loop().call_later(
            0 if awaited else HOLD_SECONDS, self._hold_over, key
        )
        self._holds[key] = timer, over

    def hold_nothing(self) -> None:
        """Tell all ends that are held back; we are about to leave the bus ourselves."""
        for key in list(self._holds):
            self._hold_over(key)

    def _hold_over(self, key: tuple[str, int]) -> None:
        _, over = self._holds[key]
        self._drop_hold(key)
        self._mirror.observe(over)

    def _drop_hold(self, key: tuple[str, int]) -> None:
        if key in self._holds:
            self._holds.pop(key)[0].cancel()

    async def _check(self, event: EndUnconfirmed, owner: str, dobby: Lists) -> None:
        if event.unannounced:
            await asyncio.sleep(GRACE_SECONDS)
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await dobby.refresh(fresh=True)
        except (BridgeError, TimeoutError):
            if event.unannounced:
                return  # no signal and no List: nothing is known, the next List will tell
        self._mirror.observe(EndConfirmed(owner, event.id, event.descriptor, event.at))


MAX_REMEMBERED: Final = 64


class History:
    """The last exit of each of the last 64 ids that ended."""

    def __init__(self) -> None:
        self._exits: dict[str, Exit] = {}

    def ended(self, event: ContainerEnded) -> None:
        """A container has ended."""
        self._exits.pop(event.id, None)
        self._exits[event.id] = event.exit
        if len(self._exits) > MAX_REMEMBERED:
            self._exits.pop(next(iter(self._exits)))

    def last_exit(self, container_id: str) -> Exit:
        """How the container of that id last ended. Raises NoSuchContainer."""
        known = self._exits.get(container_id)
        if known is None:
            told = f"no end of a container {quoted(container_id)} is known; the last {MAX_REMEMBERED} ids that ended are, since ocibridge runs"
            raise NoSuchContainer(told)
        return known
