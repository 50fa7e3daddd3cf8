"""How often to look, and at which queues."""

import pytest
from support.records import queue

from coworker.policy import polling


@pytest.mark.parametrize(
    ("look", "expected"), [(0.0, 0.2), (0.003, 0.2), (0.01, 0.5), (0.02, 1.0), (3.0, 1.0)]
)
def test_looking_takes_two_percent_of_the_time_at_most_up_to_the_cap(look, expected):
    assert polling.interval(look, 0.2, 1.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("state", "free", "skipped"),
    [
        (queue(), True, False),
        (queue(working=1, progress_at=9.0), True, False),
        (queue(working=1, progress_at=9.95), True, True),
        (queue(working=1, progress_at=0.0), False, True),
        (queue(working=1, type="Sql"), True, True),
        (queue(working=2, concurrency=2), True, True),
        (queue(retry_at=11.0), True, True),
    ],
)
def test_skip(state, free, skipped):
    assert (polling.skip([state], 10.0, free, 0.2) == ["q"]) is skipped
