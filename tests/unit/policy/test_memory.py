"""How much memory is too much."""

import pytest

from coworker.policy.memory import Verdict, judge


@pytest.mark.parametrize(
    ("held", "limits", "verdict"),
    [
        (100, (100, 200), Verdict.KEEP),
        (101, (100, 200), Verdict.RETIRE),
        (200, (100, 200), Verdict.RETIRE),
        (201, (100, 200), Verdict.KILL),
        (9999, (0, 0), Verdict.KEEP),
        (9999, (0, 200), Verdict.KILL),
        (9999, (100, 0), Verdict.RETIRE),
    ],
)
def test_verdicts(held, limits, verdict):
    assert judge(held, max_memory=limits[0], hard_memory=limits[1]) is verdict
