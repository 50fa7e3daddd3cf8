"""The register of children and the named points in time."""

from itertools import product
from math import inf

import pytest
from support.records import record

from coworker.errors import IllegalMoveError
from coworker.master.roster import MOVES, Roster
from coworker.master.timers import Timers
from coworker.model import RetireReason, Role
from coworker.model import WorkerState as S

REASON = RetireReason.MAX_AGE


@pytest.mark.parametrize(("source", "target"), list(product(S, S)))
def test_only_moves_that_make_sense_are_made(source, target):
    roster, child = Roster(), record(1, state=source)
    roster.add(child)
    if target in MOVES[source]:
        roster.move(child, target, REASON)
        assert child.state is target
    else:
        with pytest.raises(IllegalMoveError):
            roster.move(child, target, REASON)
        assert child.state is source


def test_retiring_needs_a_reason_and_keeps_the_first():
    roster, child = Roster(), record(1, state=S.READY)
    roster.add(child)
    with pytest.raises(IllegalMoveError):
        roster.move(child, S.RETIRING)
    roster.move(child, S.RETIRING, REASON)
    roster.move(child, S.GONE, RetireReason.SHUTDOWN)
    assert child.retire_reason is REASON
    assert len(roster) == 0


def test_slots_are_reused_lowest_first():
    roster = Roster()
    for number in (1, 2, 3):
        roster.add(record(number, state=S.BOOTING))
    roster.move(roster.get(2), S.GONE)
    assert roster.free_slot(Role.WORKER) == 2
    assert roster.free_slot(Role.CONTROL) == 0


def test_timers_are_due_in_order_once():
    timers = Timers()
    timers.set("b", 2.0)
    timers.set("a", 1.0)
    timers.set("c", 9.0)
    assert timers.next_at == 1.0
    assert timers.due(0.5) == []
    assert timers.due(2.0) == ["a", "b"]
    assert timers.due(2.0) == []
    assert timers.next_at == 9.0


def test_timers_can_be_moved_and_cancelled():
    timers = Timers()
    timers.set("a", 1.0)
    timers.set("a", 5.0)
    timers.set("b", 2.0)
    timers.cancel("b")
    timers.cancel("unknown")
    assert timers.due(3.0) == []
    assert timers.next_at == 5.0
    assert timers.due(5.0) == ["a"]
    assert timers.next_at == inf
