# SPDX-License-Identifier: Apache-2.0
"""stopContainer: done when the container is gone (docs/design.md, stopContainer)."""

import asyncio
from typing import Any

from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.exit_tracker import ExitTracker
from ocibridge.bridge.lookup import WHERE_DOBBY_LOGS
from ocibridge.errors import DobbyRefused, DobbyUnavailable, NeverSent, Timeout, WrongState
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import Caller, Container, Exit, Reason, StopRequest, SubState
from ocibridge.text import quoted

# Dobby refuses to stop a container that is ending already. Ending takes at most 0.63 s and the
# reaping (docs/dobby.md, Stop).
DYING_SECONDS = 1.5


class Stopper:
    """Stops containers. A second stop joins one in progress."""

    def __init__(self, mirror: Mirror, dobby: DobbyApi, exit_tracker: ExitTracker) -> None:
        self._mirror = mirror
        self._dobby = dobby
        self._exit_tracker = exit_tracker
        self._in_progress: dict[tuple[Container, bool], asyncio.Task[None]] = {}  # key: with force

    async def stop(self, container: Container, force: bool, seconds: float, caller: Caller) -> None:
        """Stop, or join a stop in progress. A stop with force does not join one without.

        Raises WrongState (paused, and no force), DobbyRefused, Timeout, DobbyUnavailable.
        """
        now = asyncio.get_running_loop().time
        until = now() + seconds
        end = self._exit_tracker.end_of(container)
        while True:
            joined = self._in_progress.get((container, True)) or self._in_progress.get(
                (container, force)
            )
            try:
                await asyncio.shield(
                    joined or self._begin(container, force, until - now(), caller, end)
                )
            except Timeout:
                # The stop that we joined timed out. Use the rest of our time for one of our own.
                if joined is None or now() >= until:
                    raise
            else:
                return

    def _begin(
        self,
        container: Container,
        force: bool,
        seconds: float,
        caller: Caller,
        end: "asyncio.Future[Exit]",
    ) -> "asyncio.Task[None]":
        # Not spawned: its exceptions go to those who await it and are no crash.
        stop = asyncio.get_running_loop().create_task(
            self._stop(container, force, seconds, caller, end)
        )
        self._in_progress[container, force] = stop
        stop.add_done_callback(lambda _: self._in_progress.pop((container, force)))
        return stop

    async def _stop(
        self,
        container: Container,
        force: bool,
        seconds: float,
        caller: Caller,
        end: "asyncio.Future[Exit]",
    ) -> None:
        """Perform one stop, and tell the mirror whether it can be the cause of a later end."""
        request = self._mirror.begin_stop(container, caller)
        withdrawn = True
        try:
            reason = await self._until_ended(container, request, force, seconds, end)
            withdrawn = False
        except NeverSent:
            raise
        except (TimeoutError, Timeout):
            withdrawn = False
            raise Timeout(
                f"{container} has not ended within {seconds:.3g} s; it may still do so; "
                f"{self._dobby.pending_summary()}"
            ) from None
        finally:
            self._mirror.end_stop(container, request, withdrawn=withdrawn)
        if reason is Reason.DOBBY_GONE:
            raise DobbyUnavailable(
                f"Dobby left the bus while {quoted(container.id)} was being stopped; "
                "it is not known whether the container still runs"
            )

    async def _until_ended(
        self,
        container: Container,
        request: StopRequest,
        force: bool,
        seconds: float,
        end: "asyncio.Future[Exit]",
    ) -> Reason:
        until = asyncio.get_running_loop().time() + seconds
        request.accepted = await self._accepted(container, force, seconds, end)
        async with asyncio.timeout_at(until):
            if not request.accepted and not any(stop.accepted for stop in container.stops):
                await self._why_not(container, force, end)
            return (await end).reason

    async def _accepted(
        self, container: Container, force: bool, seconds: float, end: "asyncio.Future[Exit]"
    ) -> bool:
        """Whether Dobby accepted the stop, or the container has ended before Dobby answered."""
        if not self._exit_tracker.is_awaited(container):
            return True  # it has ended, and its descriptor may be in use again
        answer = self._dobby.stop(container, force, seconds)
        either: list[asyncio.Future[Any]] = [answer, end]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return end.done() or answer.result()

    async def _why_not(
        self, container: Container, force: bool, end: "asyncio.Future[Exit]"
    ) -> None:
        """Raise the reason for Dobby's refusal. Return if the container has ended or is about to.

        It may end by itself, or because another client stopped it.
        """
        substate = await self._dobby.state(container.descriptor)
        if substate is SubState.INVALID:
            await self._dobby.refresh(fresh=True)
            return
        if substate is SubState.PAUSED and not force:
            raise WrongState(
                f"{container} is paused, and Dobby stops a paused container only with force"
            )
        await asyncio.wait([end], timeout=DYING_SECONDS)
        if not end.done():
            raise DobbyRefused(
                f"Dobby refused to stop {container} and gives no reason. {WHERE_DOBBY_LOGS}"
            )
