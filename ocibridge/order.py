"""The order of what is seen: which answers are still true when they arrive (design 6)."""

from typing import Final

# How many ids that came and went are remembered, so that an answer older than their end does not bring them back.
REMEMBERED: Final = 1024


class Order:
    """Counts the observations of Dobby, and remembers at which one each id was last touched by a signal."""

    def __init__(self) -> None:
        self.position = 0
        self._touched: dict[str, int] = {}

    def touch(self, container_id: str, living: int) -> None:
        """The present observation says something of it; `living` containers are remembered beyond the bound."""
        self._touched.pop(container_id, None)
        self._touched[container_id] = self.position
        while len(self._touched) > REMEMBERED + living:
            self._touched.pop(next(iter(self._touched)))

    def is_fresh(self, container_id: str, asked: int) -> bool:
        """Whether nothing has been said of it since that position, so that an answer asked for then counts."""
        return self._touched.get(container_id, 0) <= asked

    def forget(self) -> None:
        """The containers of another Dobby."""
        self._touched.clear()
