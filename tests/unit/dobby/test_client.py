# SPDX-License-Identifier: Apache-2.0
"""What the client of Dobby keeps for each container, and for how long."""

from typing import Any, cast

import pytest

from ocibridge.config.schema import Config, Settings
from ocibridge.dobby.client import DobbyClient
from ocibridge.dobby.transport import Transport
from ocibridge.mirror.events import ContainerEnded, Event, UnannouncedEnd
from ocibridge.model import Exit, Reason, SubState
from tests.unit.mirror.test_mirror import Seen

EXIT = Exit(Reason.LOST, None, None, 0, 1)


@pytest.mark.parametrize(
    "event", [ContainerEnded("a", 91, SubState.RUNNING, EXIT), UnannouncedEnd("a", 91, EXIT)]
)
def test_a_question_about_what_has_ended_is_not_shared_with_its_successor(event: Event) -> None:
    client = DobbyClient(cast("Transport", None), Seen().mirror, Settings(Config()))
    client._states.update({91: cast("Any", None), 45: cast("Any", None)})
    client.on_event(event)
    assert list(client._states) == [45]
