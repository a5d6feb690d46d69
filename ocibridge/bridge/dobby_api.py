# SPDX-License-Identifier: Apache-2.0
"""What the bridge needs of Dobby, and what Dobby's replies mean; see `dobby/client.py`."""

import asyncio
from typing import Any, Protocol

from ocibridge.model import Container, SubState


class DobbyApi(Protocol):
    """Calls to the present Dobby.

    Each method sends its call at once, without waiting for the event loop, and returns a future
    that belongs to the caller alone. It raises DobbyUnavailable if Dobby cannot be called.

    Each future ends within a time limit: `timeouts.call` where no other is named. `refresh` and
    `state` are shared by their callers and have none: the caller has to limit its wait.
    The mirror has taken in the answer before the future is done. The future's exceptions are
    DobbyUnavailable, NotSupported (this Dobby lacks the method), LimitsExceeded, DobbyRefused (an
    error or a malformed reply), Timeout, and NeverSent, the Timeout of a call that was not sent.

    Where a method returns a bool, False never comes with a reason.
    """

    def ensure_available(self) -> None:
        """Raise DobbyUnavailable unless Dobby can be called. The text says why and since when."""

    def pending_summary(self) -> str:
        """A clause for error texts: which call Dobby has not answered for longest."""
        ...

    def refresh(self, *, fresh: bool = False) -> asyncio.Future[Any]:
        """Have the mirror take in Dobby's List. The result means nothing, but is never None.

        `fresh`: do not share a List that has been sent already.
        """
        ...

    def state(self, descriptor: int, *, fresh: bool = False) -> asyncio.Future[SubState]:
        """GetState. `fresh`: do not share one that has been sent already.

        INVALID stands for an unknown descriptor, an invalid state, or an end in progress. A List
        that was sent afterwards tells these apart (docs/dobby.md, Replies that mislead).
        """
        ...

    def info(self, container: Container) -> asyncio.Future[str]:
        """GetInfo: JSON text, "" for an unknown descriptor.

        Crashes Dobby if the container has no `rdkPlugins` (docs/dobby.md, Calls that crash Dobby).
        """
        ...

    def start_from_bundle(
        self, container_id: str, path: str, command: str, socket: str, env: list[str]
    ) -> asyncio.Future[int]:
        """StartFromBundle: the descriptor, which is above 0; any other number is a failure.

        `Mirror.send_start` has to be called just before. Time limit: `timeouts.start`.
        (docs/dobby.md, Refusals and failed starts)
        """
        ...

    def start_from_spec(
        self, container_id: str, spec: str, command: str, socket: str
    ) -> asyncio.Future[int]:
        """StartFromSpec: as `start_from_bundle`. Builds without LEGACY_COMPONENTS lack it."""
        ...

    def stop(self, container: Container, force: bool, seconds: float) -> asyncio.Future[bool]:
        """Stop, within `seconds`. True: accepted; only the signal Stopped means that it has ended.

        False: unknown, ended or ending already, or paused and no `force` (docs/dobby.md, Stop).
        """
        ...

    def pause(self, container: Container) -> asyncio.Future[bool]:
        """Pause. False: unknown, not running, or paused already."""
        ...

    def resume(self, container: Container) -> asyncio.Future[bool]:
        """Resume. False: unknown, or not paused."""
        ...

    def exec(self, container: Container, options: str, command: str) -> asyncio.Future[bool]:
        """Exec. True: crun started DobbyInit inside, even if the command does not exist.

        False: unknown, not running, or crun rejects an option (docs/dobby.md, Exec).
        """
        ...

    def hibernate(self, container: Container, options: str) -> asyncio.Future[bool]:
        """Hibernate. True: begun, or ignored by a Dobby without hibernation.

        The signal Hibernated means success. There is no signal of a failure, after which the state
        is RUNNING again. False: unknown, or not running (docs/dobby.md, Hibernate and Wakeup).
        """
        ...

    def wakeup(self, container: Container) -> asyncio.Future[bool]:
        """Wakeup. True: begun; the signal Awoken means success.

        False: unknown, or neither hibernated nor hibernating.
        """
        ...

    def annotate(self, container: Container, key: str, value: str) -> asyncio.Future[bool]:
        """Annotate. False: unknown. Can crash Dobby, as `info`."""
        ...

    def remove_annotation(self, container: Container, key: str) -> asyncio.Future[bool]:
        """RemoveAnnotation. False: unknown, or no such key. Can crash Dobby, as `info`."""
        ...

    def mount(
        self, container: Container, source: str, target: str, flags: list[str], data: str
    ) -> asyncio.Future[bool]:
        """Mount. True: mounted, but most builds ignore "ro" and "nosuid".

        Some sources make Dobby delete files of the host: `Mounts` refuses them before the call
        (docs/dobby.md, Mount and Unmount; Mount: the tunnel).
        """
        ...

    def unmount(self, container: Container, target: str) -> asyncio.Future[bool]:
        """Unmount. `target` is the path inside. False: it is no mount point, or unknown."""
        ...
