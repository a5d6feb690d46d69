# SPDX-License-Identifier: Apache-2.0
"""Limits the size of a container's annotations.

Dobby returns all of them in one GetInfo. The bus disconnects the sender of a message of more than
32 MiB, and Dobby does not reconnect (docs/dobby.md, Annotations; Life and death).
"""

import json
from typing import Final

from ocibridge.errors import InvalidArgs
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import Container
from ocibridge.text import quoted

# Of one container, as JSON. It has to fit into what we pass on of a GetInfo (info.MAX_CHARACTERS).
MAX_BYTES: Final = 3 << 20
OVERHEAD_BYTES: Final = 64  # added for each annotation; it bounds what many small ones take here


class AnnotationQuota:
    """The sizes of annotations made through us, by container and key."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._sizes: dict[Container, dict[str, int]] = {}

    def add(self, container: Container, key: str, value: str) -> int:
        """Reserve room for an annotation. The bytes that the key had before, for `undo`.

        Raises InvalidArgs if the container's annotations would become too large.
        """
        self._forget_ended()
        sizes = self._sizes.setdefault(container, {})
        size = OVERHEAD_BYTES + len(json.dumps(key)) + len(json.dumps(value))
        former = sizes.get(key, 0)
        if sum(sizes.values()) - former + size > MAX_BYTES:
            raise InvalidArgs(
                f"annotation {quoted(key)}: all annotations of {container} together may have "
                f"{MAX_BYTES >> 20} MiB as JSON; with more, the bus could disconnect Dobby"
            )
        sizes[key] = size
        return former

    def undo(self, container: Container, key: str, former: int) -> None:
        """Restore what the key had before: Dobby refused the annotation."""
        if former:
            self._sizes.setdefault(container, {})[key] = former
        else:
            self.remove(container, key)

    def remove(self, container: Container, key: str) -> None:
        """Forget an annotation that Dobby has removed."""
        self._sizes.get(container, {}).pop(key, None)

    def _forget_ended(self) -> None:
        for container in [c for c in self._sizes if self._mirror.find(c.id) is not c]:
            del self._sizes[container]
