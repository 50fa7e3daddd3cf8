"""The named points in time."""

from math import inf

from coworker.master.timers import Timers


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
