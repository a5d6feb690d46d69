"""The last exits (design 3): kept when Dobby is gone as well, by id alone, since descriptors are used again."""

from typing import Final

from ocibridge.errors import NoSuchContainer, shown
from ocibridge.events import ContainerEnded
from ocibridge.exits import Exit

MOST_REMEMBERED: Final = 64


class History:
    """The last exit of each of the last 64 ids that ended."""

    def __init__(self) -> None:
        self._exits: dict[str, Exit] = {}

    def ended(self, event: ContainerEnded) -> None:
        """A container has ended."""
        self._exits.pop(event.id, None)
        self._exits[event.id] = event.exit
        if len(self._exits) > MOST_REMEMBERED:
            self._exits.pop(next(iter(self._exits)))

    def last_exit(self, container_id: str) -> Exit:
        """How the container of that id last ended. Raises NoSuchContainer."""
        known = self._exits.get(container_id)
        if known is None:
            told = (
                f"no end of a container {shown(container_id)} is known; the last {MOST_REMEMBERED} ids that ended are, since ocibridge runs"
            )
            raise NoSuchContainer(told)
        return known
