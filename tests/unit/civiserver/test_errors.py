"""How the Python site says what went wrong."""

from coworker.civiserver.errors import ApiError, message_of
from coworker.queues.errors import StoreError


def test_errors_of_the_store_are_marked_as_civicrm_marks_those_of_its_database():
    error = StoreError("database is locked")
    assert str(error) == "database is locked"
    assert message_of(error) == "DB Error: database is locked"


def test_other_errors_speak_for_themselves():
    assert message_of(ApiError("Queue unknown")) == "Queue unknown"
    assert message_of(ValueError("six")) == "six"
