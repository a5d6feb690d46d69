# SPDX-License-Identifier: Apache-2.0
"""Ends of containers, from a signal or a missing entry to the record that callers read.

(docs/design.md, Held-back ends; Exit records)
"""

import asyncio
from typing import Final

from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.waiters import StateWaiters
from ocibridge.errors import BridgeError, NoSuchContainer
from ocibridge.mirror.events import (
    ContainerEnded,
    EndHeld,
    EndUnconfirmed,
    Event,
    UnannouncedEnd,
)
from ocibridge.mirror.mirror import Mirror
from ocibridge.mirror.observations import EndConfirmed, HoldOver
from ocibridge.model import Container, Exit
from ocibridge.tasks import spawn
from ocibridge.text import quoted

# Dobby removes a container from its List a moment before it sends the signal.
GRACE_SECONDS = 0.5
# If List gives no answer for so long, the signal Stopped is taken as the end.
CHECK_SECONDS = 10.0
# systemd stops Dobby's containers first; Dobby's name went 47 ms to 1.1 s later.
HOLD_SECONDS = 1.5
# How many exits are kept for `last_exit`.
MAX_REMEMBERED: Final = 64


class ExitTracker:
    """Awaits, confirms, delays and records the ends of containers; fed by the mirror's events.

    A container is identified by (id, descriptor): both may be used again after its end.
    """

    def __init__(self, mirror: Mirror, dobby: DobbyApi, waiters: StateWaiters) -> None:
        self._mirror = mirror
        self._dobby = dobby
        self._waiters = waiters
        self._awaited: dict[tuple[str, int], asyncio.Future[Exit]] = {}
        self._checks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._holds: dict[tuple[str, int], tuple[asyncio.TimerHandle, HoldOver]] = {}
        self._exits: dict[str, Exit] = {}  # oldest first
        self._is_leaving = False

    def end_of(self, container: Container) -> "asyncio.Future[Exit]":
        """Done when this container has ended. Cancelling it affects no other caller."""
        key = (container.id, container.descriptor)
        if key not in self._awaited:
            self._awaited[key] = asyncio.get_running_loop().create_future()
        return asyncio.shield(self._awaited[key])

    def is_awaited(self, container: Container) -> bool:
        """Whether `end_of` this container has been called and the end has not come yet."""
        return (container.id, container.descriptor) in self._awaited

    def last_exit(self, container_id: str) -> Exit:
        """How the last container with that id ended. Raises NoSuchContainer if not recorded."""
        known = self._exits.get(container_id)
        if known is None:
            raise NoSuchContainer(
                f"no recorded exit for container {quoted(container_id)} "
                f"(the last {MAX_REMEMBERED} since ocibridge started are kept)"
            )
        return known

    def release_all(self) -> None:
        """Announce all ends that are being held back, before ocibridge leaves the bus itself.

        From now on no end is held back: there may be no time left to announce it.
        """
        self._is_leaving = True
        for key in list(self._holds):
            self._hold_over(key)

    def on_event(self, event: Event) -> None:
        """Take in an event of the mirror."""
        match event:
            case EndUnconfirmed():
                self._end_unconfirmed(event)
            case EndHeld():
                self._end_held(event)
            case ContainerEnded():
                self._record(event)
                self._ended(event)
            case UnannouncedEnd():
                self._ended(event)
            case _:
                pass

    def _record(self, event: ContainerEnded) -> None:
        self._exits.pop(event.id, None)
        self._exits[event.id] = event.exit
        if len(self._exits) > MAX_REMEMBERED:
            self._exits.pop(next(iter(self._exits)))

    def _ended(self, event: ContainerEnded | UnannouncedEnd) -> None:
        self._drop_hold((event.id, event.descriptor))
        awaited = self._awaited.pop((event.id, event.descriptor), None)
        if awaited is not None:
            awaited.set_result(event.exit)

    def _end_unconfirmed(self, event: EndUnconfirmed) -> None:
        # Each Stopped signal is checked; of a container that is missing, one List at a time.
        key = (event.id, 0 if event.unannounced else event.at)
        if key not in self._checks:
            self._checks[key] = spawn(
                self._check(event, self._mirror.owner or ""), f"check whether {event.id} has ended"
            )
            self._checks[key].add_done_callback(lambda _: self._checks.pop(key))

    async def _check(self, event: EndUnconfirmed, owner: str) -> None:
        """Ask List; confirm the end unless the List has contradicted it.

        Without an answer, a signalled end is confirmed, and an unannounced one is left to the next
        List.
        """
        if event.unannounced:
            await asyncio.sleep(GRACE_SECONDS)
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._dobby.refresh(fresh=True)
        except (BridgeError, TimeoutError):
            if event.unannounced:
                return
        # The mirror ignores this if the List had the container.
        self._mirror.observe(EndConfirmed(owner, event.id, event.descriptor, event.at))

    def _end_held(self, event: EndHeld) -> None:
        """Hold the end back until Dobby has had time to leave.

        Not if somebody waits for it, or if ocibridge is about to leave itself.
        """
        key = event.id, event.descriptor
        self._drop_hold(key)
        over = HoldOver(self._mirror.owner or "", event.id, event.descriptor, event.at)
        seconds = 0 if self._is_leaving or self._waiters.concern(*key) else HOLD_SECONDS
        # Also 0 seconds go through the loop: an event must not lead to an observation at once.
        timer = asyncio.get_running_loop().call_later(seconds, self._hold_over, key)
        self._holds[key] = timer, over

    def _hold_over(self, key: tuple[str, int]) -> None:
        _, over = self._holds[key]
        self._drop_hold(key)
        self._mirror.observe(over)

    def _drop_hold(self, key: tuple[str, int]) -> None:
        if key in self._holds:
            self._holds.pop(key)[0].cancel()
