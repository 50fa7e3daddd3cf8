"""The register of children."""

from itertools import product

import pytest
from support.records import record

from coworker.errors import IllegalMoveError
from coworker.log import SILENCE
from coworker.master.roster import MOVES, Roster
from coworker.model import RetireReason, Role
from coworker.model import WorkerState as S

REASON = RetireReason.MAX_AGE


@pytest.mark.parametrize(("source", "target"), list(product(S, S)))
def test_only_moves_that_make_sense_are_made(source, target):
    roster, child = Roster(SILENCE), record(1, state=source)
    roster.add(child, 4711)
    if target in MOVES[source]:
        roster.move(child, target, REASON)
        assert child.life.state is target
    else:
        with pytest.raises(IllegalMoveError):
            roster.move(child, target, REASON)
        assert child.life.state is source


def test_retiring_needs_a_reason_and_keeps_the_first():
    roster, child = Roster(SILENCE), record(1, state=S.READY)
    roster.add(child, 4711)
    with pytest.raises(IllegalMoveError):
        roster.move(child, S.RETIRING)
    roster.move(child, S.RETIRING, REASON)
    roster.move(child, S.GONE, RetireReason.SHUTDOWN)
    assert child.life.retire_reason is REASON
    assert len(roster) == 0


def test_slots_are_reused_lowest_first():
    roster = Roster(SILENCE)
    for number in (1, 2, 3):
        roster.add(record(number, state=S.BOOTING), 4700 + number)
    roster.move(roster.get(2), S.GONE)
    assert roster.free_slot(Role.WORKER) == 2
    assert roster.free_slot(Role.CONTROL) == 0
