# SPDX-License-Identifier: Apache-2.0
"""Keeps what is known of containers' bundles across our own restarts.

Containers outlive ocibridge, and GetInfo of one without `rdkPlugins` crashes Dobby. There is one
small file for each bus in the runtime directory. It counts only for the Dobby process that it was
written for (docs/design.md, What is known of a bundle).
"""

import os
from pathlib import Path
from typing import Final

import msgspec
import structlog

from ocibridge.files import read_regular
from ocibridge.model import Origin, Provenance

log = structlog.get_logger()

# Far more than 1,023 containers and 1,024 starts can take.
MAX_FILE_BYTES: Final = 64 << 20
# One file for each bus. A restarted bus has a new id, so old files pile up.
MAX_FILES: Final = 8


class _Entry(msgspec.Struct, frozen=True):
    id: str
    descriptor: int
    origin: Origin
    bundle_path: str
    has_rdk_plugins: bool | None


class _File(msgspec.Struct, frozen=True):
    owner: str
    containers: list[_Entry]


def runtime_directory() -> Path:
    """$RUNTIME_DIRECTORY, which systemd sets; otherwise a default for root or the user."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    user = os.environ.get("XDG_RUNTIME_DIR", "")
    if not user.startswith("/"):  # the XDG specification ignores relative paths
        user = f"/run/user/{os.getuid()}"
    return Path("/run" if os.getuid() == 0 else user, "ocibridge", "memory")


class ProvenanceStore:
    """Saves and loads provenance by container. `path` None: nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._warned = False

    def recall(self, owner: str) -> dict[tuple[str, int], Provenance]:
        """What was saved for that Dobby process, by (id, descriptor); (id, 0) for pending starts.

        Empty if there is nothing. A file that cannot be read is logged.
        """
        try:
            if self._path is None:
                return {}
            kept = msgspec.json.decode(read_regular(self._path, MAX_FILE_BYTES), type=_File)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, msgspec.MsgspecError, RecursionError) as error:
            log.warning(
                "the saved knowledge of containers' bundles is lost",
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

    def keep(self, owner: str, provenance: dict[tuple[str, int], Provenance]) -> None:
        """Save `provenance` for that Dobby process, atomically. Errors are logged once."""
        if self._path is None:
            return
        entries = [
            _Entry(id_, descriptor, p.origin, p.bundle_path, p.has_rdk_plugins)
            for (id_, descriptor), p in provenance.items()
        ]
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            draft = self._path.with_suffix(".new")
            draft.write_bytes(msgspec.json.encode(_File(owner, entries)))
            is_new = not self._path.exists()
            draft.replace(self._path)
            if is_new:
                self._forget_old_buses(self._path)
            self._warned = False
        except OSError as error:
            if not self._warned:
                self._warned = True
                log.warning(
                    "the knowledge of containers' bundles cannot be saved for a restart",
                    file=str(self._path),
                    reason=str(error),
                )

    def _forget_old_buses(self, path: Path) -> None:
        ours = f"{path.stem.rpartition('-')[0]}-*{path.suffix}"
        for file in sorted(path.parent.glob(ours), key=lambda file: file.stat().st_mtime_ns)[
            :-MAX_FILES
        ]:
            file.unlink(missing_ok=True)
