# SPDX-License-Identifier: Apache-2.0
"""Forged signals, sent to our connection alone by the thousand.

None is accepted, none is logged as a bug, and none costs memory.
"""

import json
import os

import pytest

from tests.robustness.conftest import Victim
from tests.robustness.flood import SIGNALS
from tests.robustness.test_abuse import PROPERTIES
from tests.robustness.waits import NOBODY, flooding
from tests.robustness.wire import INTERFACE, OURS

SECONDS = 1.0
GROWTH_KIB = 8 << 10


@pytest.mark.parametrize("kind", SIGNALS)
def test_forged_to_us(victim: Victim, kind: str) -> None:
    """They pass the match rules in sd-bus.

    A rule with a well-known sender matches a unicast signal of any sender.
    """
    uid = NOBODY if os.geteuid() == 0 else os.geteuid()
    with victim.caller() as honest:
        owner = honest.ask_bus("GetNameOwner", "s", OURS)
        before, served = victim.memory_kib, 0
        with flooding(victim.address, kind, SECONDS, owner, uid) as forger:
            while forger.poll() is None:
                assert honest.is_served()
                served += 1
            assert forger.stdout is not None
            sent = json.loads(forger.stdout.readline())
        # The bus keeps the order, so signals taken from it are processed before this call.
        assert honest.reply(honest.call("listContainers")).body == [[]]
        status = (
            honest.reply(honest.call("Get", "ss", (INTERFACE, "DobbyStatus"), interface=PROPERTIES))
            .body[0]
            .value
        )
    said = victim.log.read_text()
    peak = victim.peak_kib
    print(
        f"{sent['messages']} forged, {said.count('unforeseen')} bugs, {served} calls served, "
        f"memory {before} → {peak} KiB, {status}"
    )
    assert sent["messages"] > 1000
    assert served > 1
    assert said.count("unforeseen") == 0
    assert peak < before + GROWTH_KIB
    assert status == "ready"
