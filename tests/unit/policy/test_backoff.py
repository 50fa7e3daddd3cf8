"""How long to wait after failures, and when no more are booted."""

from random import Random

import pytest

from coworker.policy import backoff
from coworker.policy.backoff import Breaker


@pytest.mark.parametrize(("failures", "full"), [(1, 1), (2, 2), (5, 16), (9, 256), (10, 300), (99, 300)])
def test_doubles_up_to_the_cap_with_jitter_below(failures, full):
    delays = [backoff.delay(failures, Random(n), base=1.0, cap=300.0) for n in range(50)]
    assert all(0.75 * full <= delay <= full for delay in delays)
    assert len(set(delays)) > 40


def test_breaker_opens_after_three_failures_in_a_row_and_remembers_since_when():
    breaker = Breaker()
    for now in (10.0, 11.0):
        breaker = breaker.failed(now, "gone", Random(1), started=now)
        assert not breaker.is_open
    breaker = breaker.failed(12.0, "gone", Random(1), started=12.0)
    assert breaker.open_since == 12.0
    assert breaker.failed(20.0, "else", Random(1), started=20.0).open_since == 12.0


def test_boots_that_were_under_way_together_count_as_one():
    breaker = Breaker().failed(10.0, "one", Random(1), started=9.0)
    for now in (10.1, 10.2, 10.3):
        breaker = breaker.failed(now, "two", Random(1), started=9.5)
    assert (breaker.failures, breaker.is_open, breaker.reason) == (1, False, "two")
    assert breaker.failed(11.0, "three", Random(1), started=10.5).failures == 2


def test_probes_come_one_at_a_time_at_most_five_seconds_apart():
    breaker = Breaker()
    for now in range(20):
        breaker = breaker.failed(float(now), "gone", Random(now), started=now)
        assert breaker.next_boot_at <= now + 5.0
    assert not breaker.may_boot(breaker.next_boot_at - 0.01, 0)
    assert breaker.may_boot(breaker.next_boot_at, 0)
    assert not breaker.may_boot(breaker.next_boot_at, 1)
    assert Breaker().may_boot(0.0, 7)
