"""What became of the items that were sent."""

import pytest

from coworker.civi.outcome import outcomes_of
from coworker.errors import ProtocolError
from coworker.model import Outcome


def answer(*pairs):
    return [{"outcome": outcome, "item": {"id": item_id, "queue": "q"}} for item_id, outcome in pairs]


def test_outcomes_by_id():
    outcomes = outcomes_of(answer(("7", "abort"), (8, "relinquish")), ["7", "8"])
    assert outcomes == {"7": Outcome.ABORT, "8": Outcome.RELINQUISH}
    assert list(outcomes) == ["7", "8"]
    assert outcomes.oddities == []


@pytest.mark.parametrize(
    ("rows", "outcome", "oddity"),
    [
        ([], Outcome.UNKNOWN, "item 7 is missing from the answer"),
        (answer(("7", "fail")), Outcome.UNKNOWN, "item 7 has unknown outcome 'fail'"),
        (answer(("7", None)), Outcome.UNKNOWN, "item 7 has unknown outcome None"),
        (answer(("7", ["ok"])), Outcome.UNKNOWN, "item 7 has unknown outcome ['ok']"),
        (answer(("7", "ok"), ("9", "ok")), Outcome.OK, "item 9 was not sent, but has outcome 'ok'"),
    ],
)
def test_odd_outcomes(rows, outcome, oddity):
    outcomes = outcomes_of(rows, ["7"])
    assert outcomes == {"7": outcome}
    assert outcomes.oddities == [oddity]


@pytest.mark.parametrize("rows", [[None], [{}], [{"item": None}], ["ok"], [{"item": {}}]])
def test_an_answer_of_another_shape(rows):
    with pytest.raises(ProtocolError):
        outcomes_of(rows, ["7"])
