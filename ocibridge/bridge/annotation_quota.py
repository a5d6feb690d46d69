"""How much annotations may take (design 1, safety for Dobby): it shows all of them in one GetInfo.

A bus throws out who sends more than 32 MiB in a message, and Dobby does not come back by itself (facts 6).
"""

import json
from typing import Final

from ocibridge.errors import InvalidArgs
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import Container
from ocibridge.text import quoted

# Of one container, as JSON; what is more than ocibridge itself would hand on (info.LARGEST) helps nobody.
MAX_BYTES: Final = 3 << 20
EACH_BYTES: Final = 64  # what a small one takes here


class AnnotationQuota:
    """What has been annotated through us."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._sizes: dict[Container, dict[str, int]] = {}

    def add(self, container: Container, key: str, value: str) -> int:
        """Reserve room for it; the bytes that the key had before, 0 if none. Raises InvalidArgs where there is no room."""
        self._forget_the_ended()
        sizes = self._sizes.setdefault(container, {})
        size = EACH_BYTES + len(json.dumps(key)) + len(json.dumps(value))
        if sum(sizes.values()) - sizes.get(key, 0) + size > MAX_BYTES:
            told = (
                f"all annotations of {container} together, as JSON, may have {MAX_BYTES >> 20} MiB"
            )
            raise InvalidArgs(
                f"annotation {quoted(key)}: {told}: a larger getContainerInfo could cost Dobby its bus"
            )
        former = sizes.get(key, 0)
        sizes[key] = size
        return former

    def undo(self, container: Container, key: str, former: int) -> None:
        """Dobby refused it: the key has what it had before."""
        if former:
            self._sizes.setdefault(container, {})[key] = former
        else:
            self.remove(container, key)

    def remove(self, container: Container, key: str) -> None:
        """It is not there, or not any more."""
        self._sizes.get(container, {}).pop(key, None)

    def _forget_the_ended(self) -> None:
        for container in [c for c in self._sizes if self._mirror.find(c.id) is not c]:
            del self._sizes[container]
