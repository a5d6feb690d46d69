# SPDX-License-Identifier: Apache-2.0
"""The operations behind the D-Bus and JSON-RPC methods (docs/design.md, The verbs).

Each asks Dobby first. If Dobby refuses, the reason is looked up afterwards; it is never guessed.
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
from ocibridge.model import Caller, Container, ContainerRef, Exit, Origin, SubState, name_of
from ocibridge.text import quoted


@asynccontextmanager
async def deadline(seconds: float, what: str, dobby: DobbyApi) -> AsyncIterator[None]:
    """Raise Timeout if the block takes longer than `seconds`.

    The text names `what` and the call that Dobby is busy with.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Timeout(
            f"{what}: not done within {seconds:g} s; it may still happen; {dobby.pending_summary()}"
        ) from None


MOUNT_CAUSES: Final = (
    "the target exists already, its parent directory is missing or not writable for the container, "
    "or the bundle lacks the storage plugin or slave propagation"
)

# A container needs one of these, or GetInfo and annotations crash Dobby.
_PLUGINS: Final = {
    Origin.BUNDLE: "rdkPlugins with a plugin in it",
    Origin.SPEC: "network, console or plugins",
}


class Bridge:
    """The operations of org.rdk.OCIContainer1.

    `container_ref` is an id, a descriptor in decimal text, or the container itself.
    All raise DobbyUnavailable, Timeout and LimitsExceeded. Those with a `container_ref` also raise
    NoSuchContainer. Further errors are named with each operation.
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
        """(descriptor, id) of each container, by id. From the mirror after `timeouts.read`."""
        await self._find.within(self._settings.now.timeouts.read, self._dobby.refresh())
        return [(c.descriptor, c.id) for c in self._mirror.listing()]

    def container_state(self, container_ref: ContainerRef) -> Awaitable[tuple[str, SubState]]:
        """(id, substate) of a container. From the mirror after `timeouts.read`."""
        return self._states.state(container_ref)

    async def container_info(self, container_ref: ContainerRef) -> Info:
        """Dobby's GetInfo.

        Raises NotSupported (it would crash Dobby), DobbyRefused.
        """
        async with self._within_call("getContainerInfo", container_ref):
            container = await self._find.resolve(container_ref)
            self._check_survivable(container, "getContainerInfo")
            answer = await self._dobby.info(container)
            if not answer:
                await self._find.explain(
                    container,
                    "getContainerInfo",
                    None,
                    "an empty answer for a container that exists",
                )
        return Info(answer, container)

    async def start_from_bundle(
        self, container_id: str, path: str, command: str, socket: str, env: list[str]
    ) -> int:
        """Start a bundle. Returns the descriptor when the container runs and has been announced.

        Raises InvalidArgs, ContainerExists, DobbyRefused, and NotSupported (an encrypted bundle, or
        a production build of Dobby).
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
        """Start a legacy Dobby spec: its JSON text, or the absolute path of its file.

        Otherwise as `start_from_bundle`. Raises NotSupported for a Dobby without LEGACY_COMPONENTS.
        """
        async with deadline(
            self._settings.now.timeouts.start,
            f"startContainerFromDobbySpec of {quoted(container_id)}",
            self._dobby,
        ):
            return await self._starter.from_spec(container_id, dobby_spec, command, socket)

    async def stop_container(
        self, container_ref: ContainerRef, force: bool, caller: Caller
    ) -> None:
        """Stop. Returns when the container is gone. Raises WrongState, DobbyRefused."""
        self._mirror.release_hold(name_of(container_ref))
        await self._stopper.stop(
            await self._find.resolve(container_ref), force, self._settings.now.timeouts.stop, caller
        )

    async def pause_container(self, container_ref: ContainerRef) -> None:
        """Pause. Returns when Dobby reports it paused. Raises WrongState, DobbyRefused."""
        async with self._within_call("pauseContainer", container_ref):
            await self._transitions.pause(await self._find.resolve(container_ref))

    async def resume_container(self, container_ref: ContainerRef) -> None:
        """Resume. Returns when Dobby reports it running. Raises WrongState, DobbyRefused."""
        async with self._within_call("resumeContainer", container_ref):
            await self._transitions.resume(await self._find.resolve(container_ref))

    async def hibernate_container(self, container_ref: ContainerRef, options: str) -> None:
        """Hibernate. Returns when Dobby reports it hibernated.

        Raises WrongState, and DobbyRefused, also if Dobby was built without hibernation.
        """
        async with self._within(
            "hibernateContainer", container_ref, self._settings.now.timeouts.hibernate
        ):
            await self._transitions.hibernate(await self._find.resolve(container_ref), options)

    async def wakeup_container(self, container_ref: ContainerRef) -> None:
        """Wake up. Returns when Dobby reports it running. Raises WrongState, DobbyRefused."""
        async with self._within(
            "wakeupContainer", container_ref, self._settings.now.timeouts.hibernate
        ):
            await self._transitions.wakeup(await self._find.resolve(container_ref))

    async def exec_command(self, container_ref: ContainerRef, options: str, command: str) -> None:
        """Run a command in the container. Raises InvalidArgs, WrongState, DobbyRefused.

        Success means that Dobby accepted it, even if the program does not exist. There is no output
        and no exit code.
        """
        validation.check_exec_command(command)
        async with self._within_call("execCommand", container_ref):
            container = await self._find.resolve(container_ref)
            if not await self._dobby.exec(container, options, command):
                await self._find.explain(
                    container,
                    "execCommand",
                    SubState.RUNNING,
                    "no reason; crun may have rejected one of the options",
                )

    async def annotate(self, container_ref: ContainerRef, key: str, value: str) -> None:
        """Set an annotation, which getContainerInfo returns.

        Raises InvalidArgs, NotSupported (it would crash Dobby), DobbyRefused.
        """
        async with self._within_call("annotate", container_ref):
            container = await self._find.resolve(container_ref)
            self._check_survivable(container, "annotate")
            former = self._annotations.add(container, key, value)
            if not await self._dobby.annotate(container, key, value):
                self._annotations.undo(container, key, former)
                await self._find.explain(container, "annotate", None, "no reason")

    async def remove_annotation(self, container_ref: ContainerRef, key: str) -> None:
        """Remove an annotation.

        Raises NotSupported (it would crash Dobby), and DobbyRefused, also if there is no such key.
        """
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
        """Bind the host's directory `source` to `target` in the container.

        Raises InvalidArgs, also for a source that makes Dobby delete files of the host; and
        DobbyRefused, also while an earlier mount is stuck in Dobby's tunnel. Most builds of Dobby
        silently ignore "ro" and "nosuid" (docs/dobby.md, Mount and Unmount; Mount: the tunnel).
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
        """Unmount `target`, a path in the container. Raises InvalidArgs, DobbyRefused."""
        validation.check_absolute("target", target)
        async with self._within_call("unmount", container_ref):
            container = await self._find.resolve(container_ref)
            if not await self._dobby.unmount(container, target):
                await self._find.explain(
                    container,
                    "unmount",
                    None,
                    f"no reason; {quoted(target)} may not be a mount point in the container",
                )

    async def wait_for_state(
        self, container_ref: ContainerRef, word: str, microseconds: int
    ) -> str:
        """Wait for a state or substate. Returns `word`, or "Stopped" if the container ends first.

        0 microseconds: no limit. Raises InvalidArgs.
        """
        validation.check_state(word)
        return await self._states.wait_for(container_ref, word, microseconds / 1e6 or None)

    async def last_exit(self, container_id: str) -> Exit:
        """How the last container with that id ended. Raises NoSuchContainer.

        Needs no Dobby.
        """
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
        """Raise NotSupported if the call would crash Dobby, or might and `unknown_origin` refuses.

        (docs/dobby.md, Calls that crash Dobby)
        """
        provenance = container.provenance
        if provenance.has_rdk_plugins is False:
            lack = _PLUGINS[provenance.origin]
            where = (
                f"config.json of its bundle {quoted(provenance.bundle_path)}"
                if provenance.origin is Origin.BUNDLE
                else "its Dobby spec"
            )
            raise NotSupported(f"{verb} of {container} would crash Dobby: {where} has no {lack}")
        policy = self._settings.now.unknown_origin
        is_ours = provenance.origin is not Origin.UNKNOWN
        if provenance.has_rdk_plugins is None and (
            policy is UnknownOrigin.REFUSE or (policy is UnknownOrigin.AUTO and is_ours)
        ):
            why = (
                "could not be read before its start"
                if is_ours
                else "is unknown, since another client started it"
            )
            raise NotSupported(
                f"{verb} of {container} might crash Dobby: its bundle {why} "
                f"(unknown_origin: {policy.value})"
            )
