# SPDX-License-Identifier: Apache-2.0
"""The provenance of containers to come: of our starts in progress, and from before our restart."""

from dataclasses import dataclass

from ocibridge.model import UNKNOWN_PROVENANCE, Provenance


@dataclass(slots=True, eq=False)
class PendingStart:
    """A start of ours. `provenance` is None until it is sent: its bundle is still being read."""

    provenance: Provenance | None = None


class PendingStarts:
    """Our starts in progress, by id.

    `recalled`: the provenance saved before our restart, by (id, descriptor); by (id, 0) for starts
    that were in progress then.
    """

    def __init__(self) -> None:
        self._pending: dict[str, PendingStart] = {}
        self.recalled: dict[tuple[str, int], Provenance] = {}

    def has(self, container_id: str) -> bool:
        """Whether a start of ours for that id is in progress."""
        return container_id in self._pending

    def is_sent(self, container_id: str) -> bool:
        """Whether a start of ours for that id has been sent, or is about to be."""
        start = self._pending.get(container_id)
        return start is not None and start.provenance is not None

    def claim(self, container_id: str) -> PendingStart:
        """Begin a start. `withdraw` ends it before it is sent, `answered` after that."""
        self._pending[container_id] = start = PendingStart()
        return start

    def withdraw(self, container_id: str, start: PendingStart) -> bool:
        """End that start unless it has been sent; return whether it was ended."""
        is_unsent = self._pending.get(container_id) is start and start.provenance is None
        if is_unsent:
            del self._pending[container_id]
        return is_unsent

    def send(self, container_id: str, provenance: Provenance) -> None:
        """The start for that id is about to be sent."""
        self._pending.setdefault(container_id, PendingStart()).provenance = provenance

    def answered(self, container_id: str) -> Provenance:
        """End the start for that id; return the provenance that it was sent with."""
        start = self._pending.pop(container_id, None)
        return UNKNOWN_PROVENANCE if start is None or start.provenance is None else start.provenance

    def sent(self) -> dict[str, Provenance]:
        """The provenance of the starts that have been sent, by id."""
        return {
            container_id: start.provenance
            for container_id, start in self._pending.items()
            if start.provenance is not None
        }

    def clear(self) -> None:
        """Dobby has gone. Starts that have not been sent stay: the next Dobby will get them."""
        self._pending = {
            container_id: start
            for container_id, start in self._pending.items()
            if start.provenance is None
        }
        self.recalled = {}

    def of(self, container_id: str, descriptor: int, *, just_started: bool) -> Provenance:
        """A new container's provenance. Only one that has just started can be from our start."""
        pending = self._pending.get(container_id) if just_started else None
        if pending is not None and pending.provenance is not None:
            return pending.provenance
        # With descriptor 0: its start was in progress when we were stopped.
        was_pending = self.recalled.get((container_id, 0), UNKNOWN_PROVENANCE)
        return self.recalled.get((container_id, descriptor), was_pending)
