"""The values that everybody shares."""

from itertools import product

import pytest

from coworker.errors import IllegalMoveError
from coworker.model import SYSTEM, Identity, Unsettled
from coworker.model import MasterPhase as P


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


LEGAL = {
    (P.RUNNING, P.QUIET),
    (P.QUIET, P.RUNNING),
    *((phase, P.STOPPING) for phase in (P.RUNNING, P.QUIET)),
    *((phase, P.HALTING) for phase in (P.RUNNING, P.QUIET, P.STOPPING)),
}


@pytest.mark.parametrize(("phase", "target"), list(product(P, P)))
def test_only_phases_that_can_follow_do(phase, target):
    if phase is target or (phase, target) in LEGAL:
        assert phase.to(target) is target
    else:
        with pytest.raises(IllegalMoveError):
            phase.to(target)


def test_what_ends():
    assert [phase for phase in P if phase.ends] == [P.STOPPING, P.HALTING]


def test_items_without_some_are_still_in_order():
    part = Unsettled(["1", "2", "3"], ["4", "5"], "x", delay=60)
    assert part.ids == ["1", "2", "3", "4", "5"]
    assert part.without(["2", "4"]) == Unsettled(["1", "3"], ["5"], "x", delay=60)
