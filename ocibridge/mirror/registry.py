"""The containers of the present Dobby, and the events of each: there, changed, gone (design 5).

What is announced here is announced once and in order, whatever the rules (`mirror.py`) make of what is seen.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from ocibridge.mirror.events import (
    ContainerEnded,
    ContainerRestarted,
    ContainerStarted,
    Event,
    ProvenanceCorrected,
    StateChanged,
)
from ocibridge.model import (
    Caller,
    Container,
    Exit,
    Provenance,
    Reason,
    StopRequest,
    SubState,
    reason_of,
)

# The exact decimal text of a descriptor, which is 1 to 1023 (facts 5): "091" and "+91" are none.
DECIMAL: Final = re.compile("[1-9][0-9]{0,9}", re.ASCII)


class ContainerRegistry:
    """`emit` is called with each event while it happens; `now` gives microseconds since the epoch."""

    def __init__(self, emit: Callable[[Event], None], now: Callable[[], int]) -> None:
        self._emit = emit
        self._now = now
        self._by_id: dict[str, Container] = {}
        self._by_descriptor: dict[int, Container] = {}
        self.count = 0  # containers that have been announced and have not ended

    def __iter__(self) -> Iterator[Container]:
        """All, by id, also those that are missing or not announced yet. It may be changed meanwhile."""
        return iter(sorted(self._by_id.values(), key=lambda c: c.id))

    def __len__(self) -> int:
        return len(self._by_id)

    def has(self, container: Container) -> bool:
        """Whether it has not ended."""
        return self._by_id.get(container.id) is container

    def of_id(self, container_id: str) -> Container | None:
        """The container of that id."""
        return self._by_id.get(container_id)

    def of_descriptor(self, descriptor: int) -> Container | None:
        """The container of that descriptor."""
        return self._by_descriptor.get(descriptor)

    def find(self, text: str) -> Container | None:
        """The container of that id, or of that descriptor in its exact decimal text. Ids have a letter: no clash."""
        found = self._by_id.get(text)
        if found is None and DECIMAL.fullmatch(text):
            found = self._by_descriptor.get(int(text))
        return found

    def add(self, container: Container) -> None:
        """It is there, and nobody is told yet. Whatever had its id or its descriptor has ended."""
        for clash in (self._by_id.get(container.id), self._by_descriptor.get(container.descriptor)):
            if clash is not None:
                self.end(clash, Reason.LOST)
        self._by_id[container.id] = self._by_descriptor[container.descriptor] = container

    def announce(self, container: Container) -> None:
        """Tell of it, if nobody has been told yet."""
        if container.announced is None:
            container.announced = container.substate
            self.count += 1
            self._emit(ContainerStarted(container.id, container.descriptor, container.announced))

    def report(self, container: Container, substate: SubState) -> None:
        """Dobby has told its state."""
        container.reported, container.invalid_at = substate, None
        self._tell(container)

    def restart(self, container: Container) -> None:
        """What looked like its end was a restart by Dobby."""
        container.started_at = container.restarted_at or self._now()
        container.unconfirmed_at = container.wait_status = container.held_at = None
        if container.announced is not None:
            self._emit(ContainerRestarted(container.id, container.descriptor, container.started_at))

    def correct(self, container: Container, plan: Provenance) -> None:
        """It is, or is not, what our own start was to make."""
        if container.plan is not plan:
            container.plan = plan
            if container.announced is not None:
                self._emit(ProvenanceCorrected(container.id, container.descriptor))

    def begin_stop(self, container: Container, by: Caller) -> StopRequest:
        """A stop through us is about to go out; an end that is to come needs no holding."""
        self.release_hold(container)
        request = StopRequest(by)
        container.stops.append(request)
        self._tell(container)
        return request

    def end_stop(self, container: Container, request: StopRequest, *, withdrawn: bool) -> None:
        """It is over; unless `withdrawn` (Dobby refused, or never saw it) it is a reason for an end to come."""
        request.under_way = False
        if withdrawn:
            container.stops.remove(request)
        self._tell(container)

    def conclude(self, container: Container, gone: Reason | None) -> None:
        """It is gone, as with `end`, but the announcement may have to wait for the end of a holding."""
        if container.held_at is None:
            self.end(container, gone)
        else:
            container.ended = True

    def release_hold(self, container: Container) -> None:
        """Whatever ends it is no longer held back, and is told now if it has happened."""
        container.held_at = None
        if container.ended:
            self.end(container, None)

    def end(self, container: Container, gone: Reason | None) -> None:
        """It is gone. `gone` is why we infer it, None if Dobby said it.

        What Dobby said takes precedence, except that a Dobby which leaves right after a death by SIGTERM or SIGKILL has
        most likely been stopped together with its containers.
        """
        if not self.has(container):
            return
        del self._by_id[container.id]
        del self._by_descriptor[container.descriptor]
        if container.announced is not None:
            self.count -= 1
            former, container.announced = container.announced, None
            said = container.unconfirmed_at is not None or container.wait_status is not None
            if said and not (gone is Reason.DOBBY_GONE and container.held_at is not None):
                gone = None
            self._emit(
                ContainerEnded(
                    container.id, container.descriptor, former, self._exit(container, gone)
                )
            )

    def _exit(self, container: Container, gone: Reason | None) -> Exit:
        by = container.stops[0].by if container.stops else None
        reason = reason_of(container.wait_status, requested=by is not None, gone=gone)
        return Exit(reason, container.wait_status, by, container.started_at, self._now())

    def _tell(self, container: Container) -> None:
        former, substate = container.announced, container.substate
        if former is None or former is substate:
            return
        container.announced = substate
        if former.state is not substate.state:
            container.changed_at = self._now()
        self._emit(StateChanged(container.id, container.descriptor, substate, former))
