"""What we know of containers' bundles, kept over our own restart (design 3).

A container outlives us, and a GetInfo of one without `rdkPlugins` kills Dobby: after a restart we must still know.
One small file a bus in the runtime directory; what is of another Dobby than the present one is not believed.
"""

import os
from pathlib import Path
from typing import Final

import msgspec
import structlog

from ocibridge.files import read_regular
from ocibridge.model import Origin, Provenance

log = structlog.get_logger()

MAX_FILE_BYTES: Final = (
    64 << 20
)  # bytes; far beyond what 1,023 containers and 1,024 starts can take
# Files, each of another bus: one that has been restarted is another one.
MAX_FILES: Final = 8


class _Remembered(msgspec.Struct, frozen=True):
    id: str
    descriptor: int
    origin: Origin
    bundle_path: str
    has_rdk_plugins: bool | None


class _File(msgspec.Struct, frozen=True):
    owner: str
    containers: list[_Remembered]


def runtime_directory() -> Path:
    """Where systemd says, else where a daemon started by hand may write."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    user = os.environ.get("XDG_RUNTIME_DIR", "")
    if not user.startswith(
        "/"
    ):  # the XDG specification: empty is unset, a relative path is ignored
        user = f"/run/user/{os.getuid()}"
    return Path("/run" if os.getuid() == 0 else user, "ocibridge", "memory")


class ProvenanceStore:
    """Plans by container, as last saved. `path` None: nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._warned = False

    def recall(self, owner: str) -> dict[tuple[str, int], Provenance]:
        """What was kept of that life of Dobby: plans by (id, descriptor), by (id, 0) of starts that were under way."""
        try:
            if self._path is None:
                return {}
            kept = msgspec.json.decode(read_regular(self._path, MAX_FILE_BYTES), type=_File)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, msgspec.MsgspecError, RecursionError) as error:
            log.warning(
                "what was known of containers' bundles is lost",
                file=str(self._path),
                reason=str(error),
            )
            return {}
        if kept.owner != owner:
            return {}
        return {
            (c.id, c.descriptor): Provenance(c.origin, c.bundle_path, c.has_rdk_plugins)
            for c in kept.containers
        }

    def keep(self, owner: str, plans: dict[tuple[str, int], Provenance]) -> None:
        """Save `plans`, at once whole or not at all."""
        if self._path is None:
            return
        known = [
            _Remembered(id_, descriptor, p.origin, p.bundle_path, p.has_rdk_plugins)
            for (id_, descriptor), p in plans.items()
        ]
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            draft = self._path.with_suffix(".new")
            draft.write_bytes(msgspec.json.encode(_File(owner, known)))
            is_new = not self._path.exists()
            draft.replace(self._path)
            if is_new:
                self._forget_old_buses(self._path)
            self._warned = False
        except OSError as error:
            if not self._warned:
                self._warned = True
                log.warning(
                    "what is known of containers' bundles cannot be kept over a restart",
                    file=str(self._path),
                    reason=str(error),
                )

    def _forget_old_buses(self, path: Path) -> None:
        ours = f"{path.stem.rpartition('-')[0]}-*{path.suffix}"
        for file in sorted(path.parent.glob(ours), key=lambda file: file.stat().st_mtime_ns)[
            :-MAX_FILES
        ]:
            file.unlink(missing_ok=True)
