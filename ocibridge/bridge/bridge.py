"""What each operation does (design 3): ask Dobby first, explain after, never guess.

It knows no bus: Dobby's side is `port.Dobby`, the picture is the mirror, refusals are `errors`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from ocibridge.bridge import validation
from ocibridge.bridge.annotation_quota import AnnotationQuota
from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.exit_tracker import ExitTracker
from ocibridge.bridge.info import Info
from ocibridge.bridge.lookup import Lookup
from ocibridge.bridge.mounts import Mounts
from ocibridge.bridge.start import Starter
from ocibridge.bridge.state_queries import StateQueries
from ocibridge.bridge.stop import Stopper
from ocibridge.bridge.transitions import Transitions
from ocibridge.bridge.waiters import StateWaiters
from ocibridge.config.schema import Settings, UnknownOrigin
from ocibridge.errors import NotSupported, Timeout
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import Caller, Container, ContainerRef, Exit, Origin, State, SubState, name_of
from ocibridge.text import quoted


@asynccontextmanager
async def deadline(seconds: float, what: str, dobby: DobbyApi) -> AsyncIterator[None]:
    """Raise Timeout, naming `what` was asked and what Dobby is busy with, where the block takes longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Timeout(
            f"{what}: not done within {seconds:g} s; it may still happen; {dobby.pending_summary()}"
        ) from None


MOUNT_CAUSES: Final = (
    "the target exists already, its parent does not or is not writable for the container, "
    "the bundle lacks the storage plugin or slave propagation"
)

# What must be there for Dobby to survive a look at the container's plugins.
_PLUGINS: Final = {
    Origin.BUNDLE: "rdkPlugins with a plugin in it",
    Origin.SPEC: "network, console or plugins",
}


class Bridge:
    """The operations of org.rdk.OCIContainer1. `which`: an id, a descriptor's decimal text, or the container itself.

    All raise DobbyUnavailable, Timeout and LimitsExceeded, those with a `which` NoSuchContainer as well; what else they
    raise stands with each.
    """

    def __init__(
        self,
        mirror: Mirror,
        dobby: DobbyApi,
        exit_tracker: ExitTracker,
        waits: StateWaiters,
        settings: Settings,
    ) -> None:
        self._mirror = mirror
        self._dobby = dobby
        self._exit_tracker = exit_tracker
        self._find = Lookup(mirror, dobby, settings)
        self._starter = Starter(mirror, dobby)
        self._stopper = Stopper(mirror, dobby, exit_tracker)
        self._states = StateQueries(mirror, dobby, self._find, self._starter, waits, settings)
        self._transitions = Transitions(mirror, dobby, self._find, waits)
        self._annotations = AnnotationQuota(mirror)
        self._mounts = Mounts(self._find, dobby)
        self._settings = settings

    async def list_containers(self) -> list[tuple[int, str]]:
        """(descriptor, id) of each container, by id; from the mirror where Dobby does not answer within `read`."""
        await self._find.within(self._settings.now.timeouts.read, self._dobby.refresh())
        return [(c.descriptor, c.id) for c in self._mirror.listing()]

    def container_state(self, container_ref: ContainerRef) -> Awaitable[tuple[str, State]]:
        """(id, state) of a container; from the mirror where Dobby does not answer within `read`."""
        return self._states.state(container_ref)

    async def container_info(self, container_ref: ContainerRef) -> Info:
        """Dobby's GetInfo, its `state` in the document's words. Raises NotSupported (it would kill Dobby), DobbyRefused."""
        async with self._within_call("getContainerInfo", container_ref):
            container = await self._find.resolve(container_ref)
            self._check_survivable(container, "getContainerInfo")
            answer = await self._dobby.info(container)
            if not answer:
                await self._find.explain(
                    container,
                    "getContainerInfo",
                    None,
                    "an empty answer for a container that it has",
                )
        return Info(answer, container)

    async def start_from_bundle(
        self, container_id: str, path: str, command: str, socket: str, env: list[str]
    ) -> int:
        """Start from a bundle; the descriptor, once the container runs and has been announced.

        Raises InvalidArgs, NotSupported (an encrypted bundle, a production build), ContainerExists, DobbyRefused.
        """
        async with deadline(
            self._settings.now.timeouts.start,
            f"startContainer of {quoted(container_id)}",
            self._dobby,
        ):
            return await self._starter.from_bundle(container_id, path, command, socket, env)

    async def start_from_spec(
        self, container_id: str, dobby_spec: str, command: str, socket: str = ""
    ) -> int:
        """Start from a legacy Dobby spec: its JSON text, or the absolute path of its file. Raises as `start_from_bundle`."""
        async with deadline(
            self._settings.now.timeouts.start,
            f"startContainerFromDobbySpec of {quoted(container_id)}",
            self._dobby,
        ):
            return await self._starter.from_spec(container_id, dobby_spec, command, socket)

    async def stop_container(
        self, container_ref: ContainerRef, force: bool, caller: Caller
    ) -> None:
        """Stop; returns when the container is gone. Raises WrongState, DobbyRefused."""
        self._mirror.release_hold(name_of(container_ref))
        await self._stopper.stop(
            await self._find.resolve(container_ref), force, self._settings.now.timeouts.stop, caller
        )

    async def pause_container(self, container_ref: ContainerRef) -> None:
        """Pause; returns when Dobby shows it paused. Raises WrongState, DobbyRefused."""
        async with self._within_call("pauseContainer", container_ref):
            await self._transitions.pause(await self._find.resolve(container_ref))

    async def resume_container(self, container_ref: ContainerRef) -> None:
        """Resume; returns when Dobby shows it running. Raises WrongState, DobbyRefused."""
        async with self._within_call("resumeContainer", container_ref):
            await self._transitions.resume(await self._find.resolve(container_ref))

    async def hibernate_container(self, container_ref: ContainerRef, options: str) -> None:
        """Hibernate; returns when Dobby shows it hibernated. Raises WrongState, DobbyRefused (this Dobby may lack it)."""
        async with self._within(
            "hibernateContainer", container_ref, self._settings.now.timeouts.hibernate
        ):
            await self._transitions.hibernate(await self._find.resolve(container_ref), options)

    async def wakeup_container(self, container_ref: ContainerRef) -> None:
        """Wake up; returns when Dobby shows it running. Raises WrongState, DobbyRefused."""
        async with self._within(
            "wakeupContainer", container_ref, self._settings.now.timeouts.hibernate
        ):
            await self._transitions.wakeup(await self._find.resolve(container_ref))

    async def exec_command(self, container_ref: ContainerRef, options: str, command: str) -> None:
        """Run a command in the container. Raises InvalidArgs, WrongState, DobbyRefused.

        Success means that Dobby accepted it, true even of a missing binary: no output and no exit code can be had.
        """
        validation.check_exec_command(command)
        async with self._within_call("execCommand", container_ref):
            container = await self._find.resolve(container_ref)
            if not await self._dobby.exec(container, options, command):
                await self._find.explain(
                    container,
                    "execCommand",
                    SubState.RUNNING,
                    "no reason; crun may not know one of the options",
                )

    async def annotate(self, container_ref: ContainerRef, key: str, value: str) -> None:
        """Set an annotation, which getContainerInfo shows. Raises InvalidArgs, NotSupported (it would kill Dobby), DobbyRefused."""
        async with self._within_call("annotate", container_ref):
            container = await self._find.resolve(container_ref)
            self._check_survivable(container, "annotate")
            former = self._annotations.add(container, key, value)
            if not await self._dobby.annotate(container, key, value):
                self._annotations.undo(container, key, former)
                await self._find.explain(container, "annotate", None, "no reason")

    async def remove_annotation(self, container_ref: ContainerRef, key: str) -> None:
        """Remove an annotation. Raises NotSupported (it would kill Dobby), DobbyRefused (also where there is no such key)."""
        async with self._within_call("removeAnnotation", container_ref):
            container = await self._find.resolve(container_ref)
            self._check_survivable(container, "removeAnnotation")
            if not await self._dobby.remove_annotation(container, key):
                await self._find.explain(
                    container,
                    "removeAnnotation",
                    None,
                    f"no reason; it may have no annotation {quoted(key)}",
                )
            self._annotations.remove(container, key)

    async def mount(
        self, container_ref: ContainerRef, source: str, target: str, flags: list[str], data: str
    ) -> None:
        """Bind the directory `source` at `target` in the container. Raises InvalidArgs, DobbyRefused.

        Sources with which Dobby would remove the host's files are InvalidArgs; DobbyRefused also where an earlier mount
        is stuck in Dobby's tunnel.
        Most builds of Dobby do not apply "ro" and "nosuid", and say that they did (facts, Mount).
        """
        validation.check_absolute("source", source)
        validation.check_absolute("target", target)
        validation.check_mount_flags(flags)
        async with self._within_call("mount", container_ref):
            container = await self._find.resolve(container_ref)
            if not await self._mounts.mount(container, source, target, flags, data):
                await self._find.explain(
                    container, "mount", None, f"no reason; likely causes: {MOUNT_CAUSES}"
                )

    async def unmount(self, container_ref: ContainerRef, target: str) -> None:
        """Unmount `target`, the path in the container. Raises InvalidArgs, DobbyRefused (it is no mount point)."""
        validation.check_absolute("target", target)
        async with self._within_call("unmount", container_ref):
            container = await self._find.resolve(container_ref)
            if not await self._dobby.unmount(container, target):
                await self._find.explain(
                    container,
                    "unmount",
                    None,
                    f"no reason; {quoted(target)} may be no mount point in the container",
                )

    async def wait_for_state(
        self, container_ref: ContainerRef, word: str, microseconds: int
    ) -> str:
        """Until the container is in that state or substate; the word reached, "Stopped" where it ends meanwhile.

        0 microseconds: as long as it takes. Raises InvalidArgs.
        """
        validation.check_state(word)
        return await self._states.wait_for(container_ref, word, microseconds / 1e6 or None)

    async def last_exit(self, container_id: str) -> Exit:
        """How the container of that id last ended; also while Dobby is away. Raises NoSuchContainer."""
        self._mirror.release_hold(container_id)
        return self._exit_tracker.last_exit(container_id)

    def _within_call(
        self, verb: str, container_ref: ContainerRef
    ) -> AbstractAsyncContextManager[None]:
        return self._within(verb, container_ref, self._settings.now.timeouts.call)

    def _within(
        self, verb: str, container_ref: ContainerRef, seconds: float
    ) -> AbstractAsyncContextManager[None]:
        return deadline(seconds, f"{verb} of {quoted(name_of(container_ref))}", self._dobby)

    def _check_survivable(self, container: Container, verb: str) -> None:
        """Refuse what crashes Dobby: it reads the container's plugins without a look whether there are any."""
        plan = container.provenance
        if plan.has_rdk_plugins is False:
            where = (
                f"config.json of its bundle {quoted(plan.bundle_path)}"
                if plan.origin is Origin.BUNDLE
                else "its Dobby spec"
            )
            raise NotSupported(
                f"{verb} of {container} would crash Dobby: {where} has no {_PLUGINS[plan.origin]}"
            )
        policy = self._settings.now.unknown_origin
        is_ours = plan.origin is not Origin.UNKNOWN
        if plan.has_rdk_plugins is None and (
            policy is UnknownOrigin.REFUSE or (policy is UnknownOrigin.AUTO and is_ours)
        ):
            why = (
                "could not be read before its start"
                if is_ours
                else "has not been seen, since others started it"
            )
            raise NotSupported(
                f"{verb} of {container} might crash Dobby: its bundle {why} (unknown_origin: {policy.value})"
            )
