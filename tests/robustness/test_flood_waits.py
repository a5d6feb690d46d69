"""An honest caller beside each flood, without a box: on a private bus, which allows everything. tests/system has the unit's sandbox."""

import os

import pytest

from tests.robustness.conftest import Attack, start_by_others
from tests.robustness.flood import UNREAD
from tests.robustness.waits import KINDS, NOBODY, measure, table

SECONDS = 1.0


@pytest.mark.timeout(
    600
)  # a daemon that works a backlog off may take that long, and is to be told from one that hangs
@pytest.mark.parametrize("unread", [False, True], ids=["no replies wanted", "replies not read"])
def test_others_are_served_beside_a_flood(attack: Attack, unread: bool) -> None:
    victim = attack()
    start_by_others(victim, 20)
    uid = NOBODY if os.geteuid() == 0 else os.geteuid()
    kinds = tuple(kind for kind in KINDS if kind.endswith(UNREAD) == unread)
    rows = list(measure(victim.address, SECONDS, uid, kinds))
    print(table(rows))
    assert [complaint for row in rows for complaint in row["complaints"]] == []
