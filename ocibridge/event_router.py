# SPDX-License-Identifier: Apache-2.0
"""The order in which an event of the mirror reaches its consumers.

The order is a contract. Each event passes through `EventRouter.on_event` once, synchronously, in
the order in which the mirror emits them, and reaches:

1. the journal, so that an entry precedes whatever its event causes;
2. the announcer, so that clients have the signals of an event before the reply that it releases;
3. Dobby's client, which asks for the state of a container that a List revealed;
4. the exit tracker, which completes the stops in progress and records exits;
5. the provenance store: for a start, the file is written before the call to Dobby is sent;
6. the waiters of waitForState;
7. the status line.

The end of a container that was never announced (`UnannouncedEnd`) passes 1, 2 and 5 without effect.

A consumer may read the mirror, which has applied the event already. It must not call
`Mirror.observe` before `on_event` has returned: the next event would overtake this one.
"""

from collections.abc import Callable

from ocibridge import event_log
from ocibridge.api.announcer import Announcer
from ocibridge.bridge.exit_tracker import ExitTracker
from ocibridge.bridge.provenance_store import ProvenanceStore
from ocibridge.bridge.waiters import StateWaiters
from ocibridge.dobby.client import DobbyClient
from ocibridge.mirror.events import (
    ContainerEnded,
    ContainerStarted,
    Event,
    PendingStartsChanged,
    ProvenanceCorrected,
    StatusChanged,
)
from ocibridge.mirror.mirror import Mirror
from ocibridge.model import DobbyStatus
from ocibridge.tasks import OncePerTick


class EventRouter:
    """Passes each event of the mirror on. `on_change` is called last, to renew the status line.

    `bus_id`: the bus's id. With Dobby's owner it identifies one Dobby process for the store.
    """

    def __init__(
        self,
        mirror: Mirror,
        announcer: Announcer,
        dobby: DobbyClient,
        exit_tracker: ExitTracker,
        provenance_store: ProvenanceStore,
        bus_id: str,
        waiters: StateWaiters,
        on_change: Callable[[], None],
    ) -> None:
        self._mirror = mirror
        self._announcer = announcer
        self._dobby = dobby
        self._exit_tracker = exit_tracker
        self._provenance_store = provenance_store
        self._bus_id = bus_id
        self._waiters = waiters
        self._on_change = on_change
        self._save_provenance_later = OncePerTick(self._save_provenance)

    def on_event(self, event: Event) -> None:
        """Pass the event to all consumers, in the order of the contract."""
        event_log.record(event, self._mirror.owner)
        self._announcer.on_event(event)
        self._dobby.on_event(event)
        self._exit_tracker.on_event(event)
        self._keep_provenance(event)
        self._waiters.on_event(event)
        self._on_change()

    def _keep_provenance(self, event: Event) -> None:
        """Save what the mirror knows about containers' bundles; recall it for a known Dobby."""
        match event:
            case StatusChanged(status=DobbyStatus.STARTING):
                self._mirror.recall(self._provenance_store.recall(self._dobby_process))
            case PendingStartsChanged() if self._mirror.is_start_sent(event.id):
                # At once: if ocibridge is killed right after the call is sent, its successor has to
                # know what was started.
                self._save_provenance()
            case PendingStartsChanged() if self._mirror.is_starting(event.id):
                pass  # its bundle is still being read: there is nothing to save yet
            case (
                PendingStartsChanged()
                | ContainerStarted()
                | ProvenanceCorrected()
                | ContainerEnded()
            ):
                self._save_provenance_later()
            case _:
                pass

    @property
    def _dobby_process(self) -> str:
        return f"{self._bus_id}/{self._mirror.owner}"

    def _save_provenance(self) -> None:
        self._provenance_store.keep(self._dobby_process, self._mirror.provenance())
