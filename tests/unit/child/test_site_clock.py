"""Steps of the site's clock, as one process sees them."""

from datetime import datetime, timedelta

import pytest

from coworker.child.site_clock import KEPT, SiteClock

NOON = datetime(2026, 11, 21, 12)


class Bench:
    """A site clock that is read at monotonic seconds of ours, which the site's clock shows `ahead`."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr("coworker.child.site_clock.time.monotonic", lambda: self.now)
        self.clock = SiteClock()

    def see(self, now, ahead=0.0):
        self.now = now
        self.clock.saw((NOON + timedelta(seconds=now + ahead)).isoformat(" ", "seconds"))


@pytest.fixture
def bench(monkeypatch):
    return Bench(monkeypatch)


def test_a_clock_that_goes_on_has_no_steps(bench):
    for now in (0.0, 0.7, 10.2, 20.9):
        bench.see(now)
    assert bench.clock.steps(0.0) == [0.0]


@pytest.mark.parametrize("step", [-30, -3, 3, 30, 7200])
def test_a_step_counts_for_what_began_before_it_was_seen(bench, step):
    bench.see(0.0)
    bench.see(10.0, step)
    assert bench.clock.steps(5.0) == [0.0, step]
    assert bench.clock.steps(10.1) == [0.0]


def test_of_several_steps_any_of_the_last_may_have_come_since(bench):
    for now, ahead in ((0.0, 0), (10.0, 30), (20.0, 20)):
        bench.see(now, ahead)
    assert bench.clock.steps(1.0) == [0.0, -10.0, 20.0]
    assert bench.clock.steps(15.0) == [0.0, -10.0]


def test_steps_without_end_are_not_kept(bench):
    for number in range(100):
        bench.see(10.0 * number, 10.0 * number)
    assert len(bench.clock.steps(0.0)) == KEPT + 1


def test_nobody_may_have_asked(bench):
    bench.clock.saw(None)
    assert bench.clock.steps(0.0) == [0.0]
