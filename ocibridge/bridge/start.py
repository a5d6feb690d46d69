"""Starting (design 3): checked before Dobby is asked, explained where it says no."""

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

# With a bundle that Dobby has converted, the id becomes the host name (facts 5).
MAX_HOSTNAME: Final = 64
BUNDLE_CAUSES: Final = (
    "an earlier container of that id was still ending, "
    "the bundle is not there or not writable for Dobby, it was moved or copied after its first start (Dobby writes its path into "
    "config.json then), its config.json is not to Dobby's liking, a hook or crun failed, the westerosSocket is not there"
)
SPEC_CAUSES: Final = (
    "an earlier container of that id was still ending, the spec is incomplete or of an unknown version, its user.uid is 0, "
    "a hook or crun failed"
)


class Starter:
    """The starts under way: of two starts of one id at once, the second is refused."""

    def __init__(self, mirror: Mirror, dobby: DobbyApi) -> None:
        self._bundles = Bundles()
        self._mirror = mirror
        self._dobby = dobby

    def is_starting(self, container_id: str) -> bool:
        """Whether a start of ours of that id is under way."""
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
            self._plan(container_id, bundle.plan)
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
            self._plan(container_id, spec.plan)
            descriptor = await self._dobby.start_from_spec(container_id, spec.text, command, socket)
        return await self._started(
            container_id, descriptor, "the Dobby spec", spec.refusal or SPEC_CAUSES
        )

    @contextmanager
    def _claim(self, container_id: str) -> Iterator[None]:
        self._dobby.ensure_available()
        if self.is_starting(container_id):
            raise ContainerExists(
                f"container {quoted(container_id)} is being started already (Starting, no descriptor yet)"
            )
        start = self._mirror.claim_start(container_id)
        try:
            yield
        finally:
            self._mirror.withdraw_start(container_id, start)

    def _plan(self, container_id: str, plan: Provenance) -> None:
        """To be followed by the start without an await: its answer, or Dobby's end, takes the plan back."""
        self._dobby.ensure_available()
        self._mirror.send_start(container_id, plan)

    async def _started(self, container_id: str, descriptor: int, source: str, causes: str) -> int:
        if descriptor > 0:
            return descriptor
        await self._dobby.refresh()
        known = self._mirror.find(container_id)
        if known is not None:
            raise ContainerExists(f"{known} is there already; stop it first, or use another id")
        if len(container_id) > MAX_HOSTNAME:
            causes = f"the id is longer than the {MAX_HOSTNAME} bytes of a host name, {causes}"
        told = f"Dobby did not start {quoted(container_id)} from {source} and gives no reason; likely causes: {causes}"
        raise DobbyRefused(
            f"{told}. {WHERE_DOBBY_LOGS}; crun's own is /opt/logs/crun.log in Debug builds"
        )


def _check_socket(path: str) -> None:
    if path:
        validation.check_absolute("westerosSocket", path)
