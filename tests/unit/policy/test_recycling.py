"""When a worker has done enough."""

from random import Random

import pytest
from support.records import record

from coworker.model import RetireReason
from coworker.policy import recycling
from coworker.policy.recycling import MemoryVerdict, judge_memory


def test_limits_vary_by_at_most_ten_percent():
    counts = {recycling.draw_count(200, Random(n)) for n in range(200)}
    assert min(counts) >= 180
    assert max(counts) <= 200
    assert len(counts) > 15
    ages = [recycling.draw_age(600.0, Random(n)) for n in range(200)]
    assert min(ages) >= 540
    assert max(ages) <= 600


def test_zero_is_no_limit_and_one_stays_one():
    assert recycling.draw_count(0, Random(1)) == 0
    assert recycling.draw_age(0.0, Random(1)) == 0.0
    assert {recycling.draw_count(1, Random(n)) for n in range(20)} == {1}


@pytest.mark.parametrize(
    ("given", "now", "expected"),
    [
        ({"max_requests": 5, "done": 4}, 0, None),
        ({"max_requests": 5, "done": 5}, 0, RetireReason.MAX_REQUESTS),
        ({"max_age": 10.0, "started_at": 100.0}, 109.9, None),
        ({"max_age": 10.0, "started_at": 100.0}, 110.0, RetireReason.MAX_AGE),
        ({"done": 10**9}, 10**9, None),
    ],
)
def test_expired(given, now, expected):
    assert recycling.expired(record(1, **given), now) is expected


@pytest.mark.parametrize(
    ("used", "limits", "verdict"),
    [
        (100, (100, 200), MemoryVerdict.KEEP),
        (101, (100, 200), MemoryVerdict.RETIRE),
        (200, (100, 200), MemoryVerdict.RETIRE),
        (201, (100, 200), MemoryVerdict.KILL),
        (9999, (0, 0), MemoryVerdict.KEEP),
        (9999, (0, 200), MemoryVerdict.KILL),
        (9999, (100, 0), MemoryVerdict.RETIRE),
    ],
)
def test_how_much_memory_is_too_much(used, limits, verdict):
    assert judge_memory(used, max_memory=limits[0], hard_memory=limits[1]) is verdict
