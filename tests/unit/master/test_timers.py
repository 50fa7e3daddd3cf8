"""Points in time, and what is to be done then."""

from math import inf

import pytest

from coworker.master.timers import Timers


@pytest.fixture
def done():
    return []


@pytest.fixture
def timers():
    return Timers()


def noting(done, name):
    return lambda now: done.append((name, now))


def test_what_is_due_is_done_in_order_once(timers, done):
    for name, when in (("b", 2.0), ("a", 1.0), ("c", 9.0)):
        timers.set(name, when, noting(done, name))
    assert timers.next_at == 1.0
    timers.run(0.5)
    assert done == []
    timers.run(2.0)
    timers.run(2.0)
    assert done == [("a", 2.0), ("b", 2.0)]
    assert timers.next_at == 9.0


def test_timers_can_be_moved_and_cancelled(timers, done):
    timers.set("a", 1.0, noting(done, "early"))
    timers.set("a", 5.0, noting(done, "late"))
    timers.set("b", 2.0, noting(done, "b"))
    timers.cancel("b")
    timers.cancel("unknown")
    timers.run(3.0)
    assert done == []
    assert timers.next_at == 5.0
    timers.run(5.0)
    assert done == [("late", 5.0)]
    assert timers.next_at == inf


def test_an_action_may_set_its_timer_again(timers, done):
    def again(now):
        done.append(now)
        timers.set("a", now + 1.0, again)

    timers.set("a", 1.0, again)
    timers.run(1.0)
    timers.run(1.5)
    timers.run(2.0)
    assert done == [1.0, 2.0]


def test_some_kinds_can_be_delayed():
    timers, done = Timers(), []
    for key in ("graceful", ("child", 1), ("look", 1)):
        timers.set(key, 5.0, lambda _now, key=key: done.append(key))
    timers.delay(("child", "graceful"), 10.0)
    timers.run(14.9)
    assert done == [("look", 1)]
    timers.run(15.0)
    assert sorted(map(str, done[1:])) == ["('child', 1)", "graceful"]
