"""What is known of containers before they are there: our own starts under way, and what an earlier run of ours knew."""

from ocibridge.model import UNKNOWN_PLAN, Plan


class Plans:
    """Of one life of Dobby."""

    def __init__(self) -> None:
        self.under_way: dict[str, Plan] = {}
        self.recalled: dict[tuple[str, int], Plan] = {}

    def clear(self) -> None:
        """That life is over."""
        self.under_way.clear()
        self.recalled = {}

    def of(self, container_id: str, descriptor: int, *, just_started: bool) -> Plan:
        """What is known of a container that turns up; a start of ours can only be behind one that has just started."""
        planned = self.under_way.get(container_id) if just_started else None
        if planned is not None:
            return planned
        was_under_way = self.recalled.get((container_id, 0), UNKNOWN_PLAN)  # its start was not over when we were stopped
        return self.recalled.get((container_id, descriptor), was_under_way)
