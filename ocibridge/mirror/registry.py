# SPDX-License-Identifier: Apache-2.0
"""The containers of the present Dobby, and the only code that changes a `Container`.

Each change that concerns a consumer emits its event here: once, and in order. `mirror.py` decides
what an observation means; the registry applies it.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from ocibridge.mirror.events import (
    ContainerEnded,
    ContainerRestarted,
    ContainerStarted,
    EndHeld,
    EndUnconfirmed,
    Event,
    ProvenanceCorrected,
    StateChanged,
    UnannouncedEnd,
)
from ocibridge.model import (
    Caller,
    Container,
    Exit,
    Provenance,
    Reason,
    StopRequest,
    SubState,
    is_by_stop_signal,
    reason_of,
)

# A descriptor in exact decimal text: "091" and "+91" are none (docs/dobby.md, Descriptors and ids).
DECIMAL: Final = re.compile("[1-9][0-9]{0,9}", re.ASCII)


class ContainerRegistry:
    """`emit` is called synchronously with each event. `now` returns microseconds since the epoch.

    `count`: how many containers have been announced and have not ended. Arguments named `at` are
    positions of the mirror.
    """

    def __init__(self, emit: Callable[[Event], None], now: Callable[[], int]) -> None:
        self._emit = emit
        self._now = now
        self._by_id: dict[str, Container] = {}
        self._by_descriptor: dict[int, Container] = {}
        self.count = 0

    # Reading.

    def __iter__(self) -> Iterator[Container]:
        """All by id, also missing and unannounced ones. The registry may change meanwhile."""
        return iter(sorted(self._by_id.values(), key=lambda c: c.id))

    def __len__(self) -> int:
        return len(self._by_id)

    def has(self, container: Container) -> bool:
        """Whether this container has not ended."""
        return self._by_id.get(container.id) is container

    def of_id(self, container_id: str) -> Container | None:
        """The container with that id."""
        return self._by_id.get(container_id)

    def of_descriptor(self, descriptor: int) -> Container | None:
        """The container with that descriptor."""
        return self._by_descriptor.get(descriptor)

    def find(self, text: str) -> Container | None:
        """The container with that id, or with that descriptor in exact decimal text.

        An id contains a letter, so the two cannot clash.
        """
        found = self._by_id.get(text)
        if found is None and DECIMAL.fullmatch(text):
            found = self._by_descriptor.get(int(text))
        return found

    # Existence and state.

    def add(self, container: Container) -> None:
        """Add a container, unannounced. Another one with its id or descriptor has ended."""
        for clash in (self._by_id.get(container.id), self._by_descriptor.get(container.descriptor)):
            if clash is not None:
                self.end(clash, Reason.LOST)
        self._by_id[container.id] = self._by_descriptor[container.descriptor] = container

    def announce(self, container: Container) -> None:
        """Emit ContainerStarted, unless that has been done."""
        if container.announced is None:
            container.announced = container.substate
            self.count += 1
            self._emit(ContainerStarted(container.id, container.descriptor, container.announced))

    def report(self, container: Container, substate: SubState) -> None:
        """Dobby reported this substate."""
        container.missing = False
        container.reported, container.invalid_at = substate, None
        self._emit_change(container)

    def hibernation_signalled(self, container: Container, substate: SubState, at: int) -> None:
        """Dobby signalled Hibernated, or Awoken (any other `substate`)."""
        if substate is SubState.HIBERNATED:
            container.hibernated_at = at
        else:
            container.awoken_at = at

    def invalid_seen(self, container: Container, at: int) -> None:
        """GetState was INVALID: an end in progress, unless a later List still has the container."""
        if container.reported is not SubState.INVALID:
            container.invalid_at = at

    def correct(self, container: Container, provenance: Provenance) -> None:
        """Replace the provenance."""
        if container.provenance is not provenance:
            container.provenance = provenance
            if container.announced is not None:
                self._emit(ProvenanceCorrected(container.id, container.descriptor))

    # Stops through us.

    def begin_stop(self, container: Container, by: Caller) -> StopRequest:
        """A stop is about to be sent. It explains an end to come, which need not be held back."""
        self.release_hold(container)
        request = StopRequest(by)
        container.stops.append(request)
        self._emit_change(container)
        return request

    def end_stop(self, container: Container, request: StopRequest, *, withdrawn: bool) -> None:
        """A stop is over. Unless `withdrawn` (refused, never sent), it explains an end to come."""
        request.under_way = False
        if withdrawn:
            container.stops.remove(request)
        self._emit_change(container)

    # Ends and restarts.

    def started_again(self, container: Container) -> None:
        """Dobby signalled Started once more: the end to come is that of the process before."""
        container.restarted_at = self._now()

    def end_status_known(self, container: Container, wait_status: int, at: int) -> None:
        """Dobby reported a wait status. An unrequested end by a stop signal is held back."""
        container.wait_status, container.held_at = wait_status, None
        # systemd kills the containers of a Dobby that it stops before Dobby itself is gone.
        if is_by_stop_signal(wait_status) and not container.stops:
            container.held_at = at
            self._emit(EndHeld(container.id, container.descriptor, at))

    def stop_unconfirmed(self, container: Container, at: int) -> None:
        """Dobby signalled Stopped for a container that it may be restarting."""
        container.unconfirmed_at = at
        self._emit(EndUnconfirmed(container.id, container.descriptor, at, unannounced=False))

    def unlisted(self, container: Container, at: int) -> None:
        """A List lacks the container, and there was no signal."""
        container.missing = True
        self._emit(EndUnconfirmed(container.id, container.descriptor, at, unannounced=True))

    def listed(self, container: Container) -> None:
        """A List has the container."""
        container.missing = False

    def restart(self, container: Container) -> None:
        """The apparent end was a restart by Dobby."""
        container.started_at = container.restarted_at or self._now()
        container.unconfirmed_at = container.wait_status = container.held_at = None
        if container.announced is not None:
            self._emit(ContainerRestarted(container.id, container.descriptor, container.started_at))

    def conclude(self, container: Container, gone: Reason | None) -> None:
        """The container has ended: as `end`, but announced later if the end is being held back."""
        if container.held_at is None:
            self.end(container, gone)
        else:
            container.ended = True

    def release_hold(self, container: Container) -> None:
        """Hold its end back no longer: announce it now, or as soon as it comes."""
        container.held_at = None
        if container.ended:
            self.end(container, None)

    def end(self, container: Container, gone: Reason | None) -> None:
        """The container has ended. `gone` is why we infer it, None if Dobby reported it.

        What Dobby reported takes precedence, with one exception. If Dobby leaves right after a
        death by SIGTERM or SIGKILL, both have most likely been stopped together.
        """
        if not self.has(container):
            return
        del self._by_id[container.id]
        del self._by_descriptor[container.descriptor]
        is_reported = container.unconfirmed_at is not None or container.wait_status is not None
        if is_reported and not (gone is Reason.DOBBY_GONE and container.held_at is not None):
            gone = None
        record = self._exit(container, gone)
        former, container.announced = container.announced, None
        if former is None:
            self._emit(UnannouncedEnd(container.id, container.descriptor, record))
        else:
            self.count -= 1
            self._emit(ContainerEnded(container.id, container.descriptor, former, record))

    def _exit(self, container: Container, gone: Reason | None) -> Exit:
        by = container.stops[0].by if container.stops else None
        reason = reason_of(container.wait_status, requested=by is not None, gone=gone)
        return Exit(reason, container.wait_status, by, container.started_at, self._now())

    def _emit_change(self, container: Container) -> None:
        former, substate = container.announced, container.substate
        if former is None or former is substate:
            return
        container.announced = substate
        if former.state is not substate.state:
            container.changed_at = self._now()
        self._emit(StateChanged(container.id, container.descriptor, substate, former))
