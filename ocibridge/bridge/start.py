# SPDX-License-Identifier: Apache-2.0
"""startContainer and startContainerFromDobbySpec (docs/design.md, startContainer)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ocibridge.bridge import validation
from ocibridge.bridge.bundles import Bundles
from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.lookup import WHERE_DOBBY_LOGS
from ocibridge.errors import ContainerExists, DobbyRefused
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import Provenance
from ocibridge.text import quoted

# In a bundle that Dobby has converted, the id becomes the host name (docs/dobby.md, Descriptors and
# ids).
MAX_HOSTNAME_BYTES: Final = 64
BUNDLE_CAUSES: Final = (
    "an earlier container of that id was still ending; the bundle is missing or not writable for "
    "Dobby; it was moved or copied after its first start, when Dobby wrote its path into "
    "config.json; Dobby does not accept its config.json; a hook or crun failed; the westerosSocket "
    "is missing"
)
SPEC_CAUSES: Final = (
    "an earlier container of that id was still ending; the spec is incomplete or of an unknown "
    "version; its user.uid is 0; a hook or crun failed"
)


class Starter:
    """Starts containers. A second start of an id while one is in progress is refused."""

    def __init__(self, mirror: Mirror, dobby: DobbyApi) -> None:
        self._bundles = Bundles()
        self._mirror = mirror
        self._dobby = dobby

    def is_starting(self, container_id: str) -> bool:
        """Whether a start of ours for that id is in progress."""
        return self._mirror.is_starting(container_id)

    async def from_bundle(
        self, container_id: str, path: str, command: str, socket: str, env: list[str]
    ) -> int:
        """See `Bridge.start_from_bundle`."""
        validation.check_new_id(container_id)
        validation.check_absolute("bundlePath", path)
        validation.check_command(command)
        _check_socket(socket)
        validation.check_environment(env)
        with self._claim(container_id):
            bundle = await self._bundles.bundle(path, with_socket=bool(socket))
            self._register(container_id, bundle.provenance)
            descriptor = await self._dobby.start_from_bundle(
                container_id, path, command, socket, env
            )
        return await self._started(
            container_id, descriptor, f"bundle {quoted(path)}", bundle.refusal or BUNDLE_CAUSES
        )

    async def from_spec(self, container_id: str, dobby_spec: str, command: str, socket: str) -> int:
        """See `Bridge.start_from_spec`."""
        validation.check_new_id(container_id)
        validation.check_command(command)
        _check_socket(socket)
        with self._claim(container_id):
            spec = await self._bundles.spec(dobby_spec)
            self._register(container_id, spec.provenance)
            descriptor = await self._dobby.start_from_spec(container_id, spec.text, command, socket)
        return await self._started(
            container_id, descriptor, "the Dobby spec", spec.refusal or SPEC_CAUSES
        )

    @contextmanager
    def _claim(self, container_id: str) -> Iterator[None]:
        self._dobby.ensure_available()
        if self.is_starting(container_id):
            raise ContainerExists(
                f"container {quoted(container_id)} is already being started "
                "(Starting, no descriptor yet)"
            )
        start = self._mirror.claim_start(container_id)
        try:
            yield
        finally:
            self._mirror.withdraw_start(container_id, start)

    def _register(self, container_id: str, provenance: Provenance) -> None:
        """Register the start with the mirror. The call to Dobby has to follow without an await.

        Dobby's answer, or the loss of Dobby, ends the registration.
        """
        self._dobby.ensure_available()
        self._mirror.send_start(container_id, provenance)

    async def _started(self, container_id: str, descriptor: int, source: str, causes: str) -> int:
        if descriptor > 0:
            return descriptor
        await self._dobby.refresh()
        known = self._mirror.find(container_id)
        if known is not None:
            raise ContainerExists(f"{known} exists already; stop it first, or use another id")
        if len(container_id) > MAX_HOSTNAME_BYTES:
            causes = (
                f"the id is longer than the {MAX_HOSTNAME_BYTES} bytes of a host name; {causes}"
            )
        raise DobbyRefused(
            f"Dobby did not start {quoted(container_id)} from {source} and gives no reason; "
            f"likely causes: {causes}. {WHERE_DOBBY_LOGS}; "
            "crun's own log is /opt/logs/crun.log in Debug builds"
        )


def _check_socket(path: str) -> None:
    if path:
        validation.check_absolute("westerosSocket", path)
