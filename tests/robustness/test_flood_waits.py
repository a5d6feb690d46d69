# SPDX-License-Identifier: Apache-2.0
"""An honest caller beside each flood, on a private bus that allows everything.

tests/system does the same with the unit's sandbox and the system bus's policy.
"""

import os

import pytest

from tests.robustness.conftest import Attack, start_by_others
from tests.robustness.flood import UNREAD
from tests.robustness.waits import KINDS, NOBODY, measure, table

SECONDS = 1.0


@pytest.mark.timeout(600)  # a daemon that works off a backlog may take that long without being hung
@pytest.mark.parametrize("unread", [False, True], ids=["no replies wanted", "replies not read"])
def test_others_are_served_beside_a_flood(attack: Attack, unread: bool) -> None:
    victim = attack()
    start_by_others(victim, 20)
    uid = NOBODY if os.geteuid() == 0 else os.geteuid()
    kinds = tuple(kind for kind in KINDS if kind.endswith(UNREAD) == unread)
    rows = list(measure(victim.address, SECONDS, uid, kinds))
    print(table(rows))
    assert [complaint for row in rows for complaint in row["complaints"]] == []
