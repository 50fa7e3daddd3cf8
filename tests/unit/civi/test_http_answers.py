"""What the answers of a site over HTTP mean."""

import pytest

from coworker.civi import http_answers as answers
from coworker.civi.http_answers import WebError


@pytest.mark.parametrize("value", [["x", "y"], {"c1": "y", "c0": "x"}])
def test_answers_of_several_calls_come_as_an_object_or_as_a_list(value):
    assert answers.by_key(value, ["c0", "c1"]) == ["x", "y"]


@pytest.mark.parametrize("value", ["x", None, [], ["x"], ["x", "y", "z"]])
def test_answers_that_belong_to_no_call_are_odd(value):
    with pytest.raises(WebError, match="the site answers something odd"):
        answers.by_key(value, ["c0", "c1"])
