"""What is known of containers before they are there: our own starts under way, and what an earlier run of ours knew."""

from dataclasses import dataclass

from ocibridge.model import UNKNOWN_PROVENANCE, Provenance


@dataclass(slots=True, eq=False)
class PendingStart:
    """A start of ours. `plan` is None until it goes out to Dobby: its bundle is still being read."""

    plan: Provenance | None = None


class PendingStarts:
    """The starts under way, by id, and what was known of one life of Dobby."""

    def __init__(self) -> None:
        self._pending: dict[str, PendingStart] = {}
        self.recalled: dict[tuple[str, int], Provenance] = {}

    def has(self, container_id: str) -> bool:
        """Whether a start of ours of that id is under way."""
        return container_id in self._pending

    def claim(self, container_id: str) -> PendingStart:
        """Nobody else may start that id; until `withdraw`, or until an answer to the start."""
        self._pending[container_id] = start = PendingStart()
        return start

    def withdraw(self, container_id: str, start: PendingStart) -> bool:
        """Whether that start was still under way and had not gone out; then it is over."""
        is_unsent = self._pending.get(container_id) is start and start.plan is None
        if is_unsent:
            del self._pending[container_id]
        return is_unsent

    def send(self, container_id: str, plan: Provenance) -> None:
        """The start of that id goes out."""
        self._pending.setdefault(container_id, PendingStart()).plan = plan

    def answered(self, container_id: str) -> Provenance:
        """The start of that id is over; what it was to make."""
        start = self._pending.pop(container_id, None)
        return UNKNOWN_PROVENANCE if start is None or start.plan is None else start.plan

    def sent(self) -> dict[str, Provenance]:
        """What the starts that have gone out are to make, by id."""
        return {
            container_id: start.plan
            for container_id, start in self._pending.items()
            if start.plan is not None
        }

    def clear(self) -> None:
        """That life is over; what has not gone out yet concerns the next one."""
        self._pending = {
            container_id: start
            for container_id, start in self._pending.items()
            if start.plan is None
        }
        self.recalled = {}

    def of(self, container_id: str, descriptor: int, *, just_started: bool) -> Provenance:
        """What is known of a container that turns up; a start of ours can only be behind one that has just started."""
        pending = self._pending.get(container_id) if just_started else None
        if pending is not None and pending.plan is not None:
            return pending.plan
        was_under_way = self.recalled.get(
            (container_id, 0), UNKNOWN_PROVENANCE
        )  # its start was not over when we were stopped
        return self.recalled.get((container_id, descriptor), was_under_way)
