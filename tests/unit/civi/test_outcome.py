import pytest

from coworker.civi.outcome import (
    does_not_exist,
    is_contact_refusal,
    is_database_error,
    is_unrunnable,
    outcomes_of,
)
from coworker.errors import ProtocolError
from coworker.model import Outcome


@pytest.mark.parametrize(
    "message",
    [
        "DB Error: no database selected",
        "DB Error: unknown error",
        "MySQL server has gone away",
        "SQLSTATE[HY000]: General error: 2006 MySQL server has gone away",
        "[nativecode=1100 ** Table 'civicrm_setting' was not locked with LOCK TABLES]",
        "Table 'x' was not locked with LOCK TABLES",
        "Lost connection to MySQL server during query",
        "[nativecode=2013 ** nothing]",
        "SQLSTATE[HY000] [2002] Connection refused",
        "SQLSTATE[08S01]: Communication link failure",
    ],
)
def test_errors_of_the_database(message):
    assert is_database_error(message)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "API (QueueItem, get) does not exist (or the extension it belongs to is not enabled).",
        'Failed to create queue "x". Missing field "type".',
        "Contact ID 2006 is invalid",
        "DBErrors are fine",
    ],
)
def test_errors_that_are_not_the_database_s(message):
    assert not is_database_error(message)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("API (QueueItem, get) does not exist (or the extension it belongs to is not enabled).", True),
        ("Api Queue reset version 4 does not exist.", True),
        ("Table 'civicrm_queue_item' does not exist", False),
        ('Queue "x" does not exist', False),
    ],
)
def test_a_missing_api(message, expected):
    assert does_not_exist(message) is expected


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


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Contact ID 99999 is invalid", True),
        ("Cannot login. User is blocked.", True),
        ("Cannot login. A mismatched session is already active.", False),
        ("Session is not trusted.", False),
        ("Authx is not configured", False),
    ],
)
def test_a_login_refused_for_the_contact_itself(message, expected):
    assert is_contact_refusal(message) is expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Failed to run queue items (name=q, runner=gone, itemCount=1, outcomeCount=0)", True),
        ("Cannot autorun queue q", True),
        ("Failed to run queue items (name=q, itemCount=2, outcomeCount=1)", False),
    ],
)
def test_a_queue_refused_as_a_whole(message, expected):
    assert is_unrunnable(message) is expected
