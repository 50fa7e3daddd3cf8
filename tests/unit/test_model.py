"""The values that everybody shares."""

import pytest

from coworker.model import SYSTEM, Identity


@pytest.mark.parametrize(
    ("run_as", "expected"),
    [
        (None, SYSTEM),
        ({}, SYSTEM),
        ([], SYSTEM),
        ({"contactId": None, "domainId": 1}, Identity(None, 1)),
        ({"contactId": "0"}, SYSTEM),
        ({"contactId": 2, "domainId": 1}, Identity(2, 1)),
        ({"contactId": "2", "domainId": "1"}, Identity(2, 1)),
        ({"contactId": 2}, Identity(2, None)),
        ({"contactId": 2, "domainId": ""}, Identity(2, None)),
    ],
)
def test_identity_of_run_as(run_as, expected):
    assert Identity.from_run_as(run_as) == expected
