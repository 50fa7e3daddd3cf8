"""What the messages of errors say."""

import pytest

from coworker.civi.refusals import does_not_exist, is_contact_refusal, is_database_error, is_unrunnable


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
