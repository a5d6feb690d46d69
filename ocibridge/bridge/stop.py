"""Stopping (design 3): done when the container is gone, not when Dobby has accepted."""

import asyncio
from typing import Any

from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.exit_tracker import ExitTracker
from ocibridge.bridge.lookup import WHERE_DOBBY_LOGS
from ocibridge.errors import DobbyRefused, DobbyUnavailable, NeverSent, Timeout, WrongState
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import Caller, Container, Exit, Reason, StopRequest, SubState
from ocibridge.text import quoted

# Dobby refuses to stop what is dying already, also after another client's stop: so long dying takes at most (0.63 s were
# seen, and the reaping).
DYING_SECONDS = 1.5


class Stopper:
    """The stops under way, so that a second one joins the first."""

    def __init__(self, mirror: Mirror, dobby: DobbyApi, exit_tracker: ExitTracker) -> None:
        self._mirror = mirror
        self._dobby = dobby
        self._exit_tracker = exit_tracker
        self._under_way: dict[tuple[Container, bool], asyncio.Task[None]] = {}

    async def stop(self, container: Container, force: bool, seconds: float, caller: Caller) -> None:
        """Stop, or join a stop that is under way; one with force joins none without.

        Errors: WrongState (paused, and no force), DobbyRefused, Timeout, DobbyUnavailable.
        """
        now = asyncio.get_running_loop().time
        until = now() + seconds
        end = self._exit_tracker.end_of(container)
        while True:
            joined = self._under_way.get((container, True)) or self._under_way.get(
                (container, force)
            )
            try:
                await asyncio.shield(
                    joined or self._begin(container, force, until - now(), caller, end)
                )
            except Timeout:
                # The joined one's time was over: what is left of our own goes to a stop of our own.
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
        # Not spawned: its failure is told to those who await it, and is no crash.
        stop = asyncio.get_running_loop().create_task(
            self._stop(container, force, seconds, caller, end)
        )
        self._under_way[container, force] = stop
        stop.add_done_callback(lambda _: self._under_way.pop((container, force)))
        return stop

    async def _stop(
        self,
        container: Container,
        force: bool,
        seconds: float,
        caller: Caller,
        end: "asyncio.Future[Exit]",
    ) -> None:
        """One stop of ours, as the mirror knows it: what Dobby refuses or never sees is no reason for an end to come."""
        request = self._mirror.begin_stop(container, caller)
        withdrawn = True
        try:
            reason = await self._until_ended(container, request, force, seconds, end)
            withdrawn = False
        except NeverSent:
            raise
        except (TimeoutError, Timeout):
            withdrawn = False
            told = f"{container} has not ended within {seconds:.3g} s; it may still do so; {self._dobby.pending_summary()}"
            raise Timeout(told) from None
        finally:
            self._mirror.end_stop(container, request, withdrawn=withdrawn)
        if reason is Reason.DOBBY_GONE:
            raise DobbyUnavailable(
                f"Dobby went away while {quoted(container.id)} was being stopped; whether it still runs is not known"
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
        """True also where the container has ended by itself before Dobby came to our request."""
        if not self._exit_tracker.is_awaited(container):
            return True  # it has ended, and its descriptor may be another's by now
        answer = self._dobby.stop(container, force, seconds)
        either: list[asyncio.Future[Any]] = [answer, end]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return end.done() or answer.result()

    async def _why_not(
        self, container: Container, force: bool, end: "asyncio.Future[Exit]"
    ) -> None:
        """Returns if the container has ended, or is about to, by itself or because another client stopped it."""
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
