"""What each operation does (design 3): ask Dobby first, explain after, never guess.

It knows no bus: Dobby's side is `port.Dobby`, the picture is the mirror, refusals are `errors`.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Any

from ocibridge import arguments, info
from ocibridge.config import Timeouts, UnknownOrigin
from ocibridge.deadline import deadline
from ocibridge.ends import Ends
from ocibridge.errors import DobbyRefused, NoSuchContainer, NotSupported, shown
from ocibridge.lookup import WHERE_DOBBY_LOGS, Lookup
from ocibridge.mirror import Mirror
from ocibridge.model import Container, State, SubState
from ocibridge.port import Dobby
from ocibridge.starts import Starts
from ocibridge.stops import Stops


class Bridge:
    """The operations of org.rdk.OCIContainer1. Where a `text` is taken, it is an id or a descriptor's decimal text.

    All raise DobbyUnavailable, Timeout and LimitsExceeded, those with a `text` NoSuchContainer as well; what else they
    raise stands with each.
    """

    def __init__(self, mirror: Mirror, dobby: Dobby, ends: Ends, timeouts: Timeouts, unknown_origin: UnknownOrigin) -> None:
        self._mirror = mirror
        self._dobby = dobby
        self._find = Lookup(mirror, dobby, timeouts)
        self._stops = Stops(dobby, ends)
        self._starts = Starts(mirror, dobby)
        self.timeouts = timeouts
        self.unknown_origin = unknown_origin

    async def list_containers(self) -> list[tuple[int, str]]:
        """(descriptor, id) of each container, by id; from the mirror where Dobby does not answer within `read`."""
        await self._find.within(self.timeouts.read, self._dobby.listing())
        return [(c.descriptor, c.id) for c in self._mirror.listing()]

    async def container_state(self, text: str) -> tuple[str, State]:
        """(id, state) of a container; from the mirror where Dobby does not answer within `read`."""
        self._dobby.require()
        now = asyncio.get_running_loop().time
        until = now() + self.timeouts.read
        container = self._mirror.find(text)
        if container is None:
            if self._starts.is_starting(text):
                return text, State.STARTING
            container = await self._find.look_up(text, self.timeouts.read)
        substate = await self._find.within(until - now(), self._dobby.state(container.descriptor))
        # Invalid only if a List asked after it still has the container: else it is an end in progress (design 4).
        invalid = substate is SubState.INVALID and await self._find.within(until - now(), self._dobby.listing(fresh=True)) is not None
        return self._find.present(container, text).id, State.INVALID if invalid else container.substate.state

    async def container_info(self, text: str) -> dict[str, Any]:
        """Dobby's GetInfo, its `state` in the document's words. Raises NotSupported (it would kill Dobby), DobbyRefused."""
        async with self._within_call("getContainerInfo", text):
            container = await self._find.resolve(text)
            self._check_survivable(container, "getContainerInfo")
            answer = await self._dobby.info(container)
            if not answer:
                await self._find.explain(container, "getContainerInfo", None, "an empty answer for a container that it has")
        return info.parsed(answer, container)

    async def start_from_bundle(self, container_id: str, path: str, command: str, socket: str, env: list[str]) -> int:
        """Start from a bundle; the descriptor, once the container runs and has been announced.

        Raises InvalidArgs, NotSupported (an encrypted bundle, a production build), ContainerExists, DobbyRefused.
        """
        async with deadline(self.timeouts.start, f"startContainer of {shown(container_id)}", self._dobby):
            return await self._starts.from_bundle(container_id, path, command, socket, env)

    async def start_from_spec(self, container_id: str, dobby_spec: str, command: str) -> int:
        """Start from a legacy Dobby spec: its JSON text, or the absolute path of its file. Raises as `start_from_bundle`."""
        async with deadline(self.timeouts.start, f"startContainerFromDobbySpec of {shown(container_id)}", self._dobby):
            return await self._starts.from_spec(container_id, dobby_spec, command)

    async def stop_container(self, text: str, force: bool) -> None:
        """Stop; returns when the container is gone. Raises WrongState, DobbyRefused."""
        await self._stops.stop(await self._find.resolve(text), force, self.timeouts.stop)

    async def pause_container(self, text: str) -> None:
        """Pause; returns when Dobby shows it paused. Raises WrongState, DobbyRefused."""
        async with self._within_call("pauseContainer", text):
            container = await self._find.resolve(text)
            await self._confirm(container, "pauseContainer", self._dobby.pause(container), SubState.RUNNING, SubState.PAUSED)

    async def resume_container(self, text: str) -> None:
        """Resume; returns when Dobby shows it running. Raises WrongState, DobbyRefused."""
        async with self._within_call("resumeContainer", text):
            container = await self._find.resolve(text)
            await self._confirm(container, "resumeContainer", self._dobby.resume(container), SubState.PAUSED, SubState.RUNNING)

    async def exec_command(self, text: str, options: str, command: str) -> None:
        """Run a command in the container. Raises InvalidArgs, WrongState, DobbyRefused.

        Success means that Dobby accepted it, true even of a missing binary: no output and no exit code can be had.
        """
        arguments.check_exec_command(command)
        async with self._within_call("execCommand", text):
            container = await self._find.resolve(text)
            if not await self._dobby.exec(container, options, command):
                await self._find.explain(container, "execCommand", SubState.RUNNING, "no reason; crun may not know one of the options")

    def _within_call(self, verb: str, text: str) -> AbstractAsyncContextManager[None]:
        return deadline(self.timeouts.call, f"{verb} of {shown(text)}", self._dobby)

    async def _confirm(self, container: Container, verb: str, request: Awaitable[bool], needed: SubState, wanted: SubState) -> None:
        """Believe neither the yes nor the no: GetState tells, sent right behind the request so that nobody comes between."""
        check = self._dobby.state(container.descriptor, fresh=True)
        if not await request:
            await self._find.explain(container, verb, needed, "no reason")
        substate = await check
        if substate is not wanted:  # the request may have been held back, and overtaken by the check
            substate = await self._dobby.state(container.descriptor, fresh=True)
        if substate is SubState.INVALID:
            raise NoSuchContainer(f"{shown(container.id)} ended during {verb}")
        if substate is not wanted:
            raise DobbyRefused(f"Dobby accepted {verb}, yet {container} is not {wanted}. {WHERE_DOBBY_LOGS}")

    def _check_survivable(self, container: Container, verb: str) -> None:
        """Refuse what kills Dobby (facts, point 3)."""
        plan = container.plan
        if plan.plugins is False:
            bundle = shown(plan.bundle_path)
            raise NotSupported(f"{verb} of {container} would crash Dobby: config.json of its bundle {bundle} has no rdkPlugins")
        if plan.plugins is None and self.unknown_origin is UnknownOrigin.REFUSE:
            raise NotSupported(f"{verb} of {container} might crash Dobby: its bundle has not been seen (unknown_origin: refuse)")
