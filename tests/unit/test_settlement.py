"""What becomes of claims without an answer (design, section 4)."""

import pytest

from coworker.policy.settlement import Fate, OpenClaim, RowSeen, Verdict, settle


def claim(sent=(), unsent=(), **more):
    return OpenClaim(
        list(sent), list(unsent), **{"claimed_ago": 100, "lease_time": 3600, "retry_interval": 7, **more}
    )


OURS = 3500.0  # what is left of the lease


def row(item, run_count=1, release_in=OURS):
    return RowSeen(item, run_count, release_in)


RETURNED = ("run_count", "release_time")


@pytest.mark.parametrize(
    ("rows", "given", "expected"),
    [
        pytest.param([], claim("1"), [Verdict("1", Fate.FINISHED)], id="a row that is gone has finished"),
        pytest.param(
            [row("1", release_in=None)],
            claim("1"),
            [Verdict("1", Fate.LEFT)],
            id="free again: not ours any more",
        ),
        pytest.param(
            [row("1", release_in=5.0)], claim("1"), [Verdict("1", Fate.LEFT)], id="CiviCRM retries it already"
        ),
        pytest.param(
            [row("1", 2, 3599.0)],
            claim("1"),
            [Verdict("1", Fate.LEFT)],
            id="somebody else has claimed it since",
        ),
        pytest.param(
            [row("1"), row("2", 3)],
            claim("12"),
            [
                Verdict("1", Fate.RELEASED, ("release_time",), release=7),
                Verdict("2", Fate.RETURNED, RETURNED, run_count=2),
            ],
            id="the first was begun, the later ones were not",
        ),
        pytest.param(
            [row("1", 1, 1.0), row("2"), row("3")],
            claim("0123"),
            [
                Verdict("0", Fate.FINISHED),
                Verdict("1", Fate.LEFT),
                Verdict("2", Fate.RELEASED, ("release_time",), release=7),
                Verdict("3", Fate.RETURNED, RETURNED, run_count=0),
            ],
            id="the culprit is the first row still under the lease, not the first row left",
        ),
        pytest.param(
            [row("1"), row("2")],
            claim("12", in_order=False),
            [Verdict(i, Fate.RELEASED, ("release_time",), release=7) for i in "12"],
            id="a runner that keeps no order: all count as begun",
        ),
        pytest.param(
            [row("1"), row("2")],
            claim("12", ours=True),
            [Verdict(i, Fate.RETURNED, RETURNED, run_count=0) for i in "12"],
            id="killed by us at stop: the begun one is given back too",
        ),
        pytest.param(
            [row("1"), row("2")],
            claim("", "12", delay=60),
            [Verdict(i, Fate.RETURNED, RETURNED, run_count=0, release=60) for i in "12"],
            id="never sent: given back, later if asked",
        ),
        pytest.param(
            [row("1", 1, 8.0), row("2", 1, 8.0)],
            claim("12", claimed_ago=3592),
            [Verdict("1", Fate.RELEASED), Verdict("2", Fate.RETURNED, ("run_count",), run_count=0)],
            id="a lease about to end: only the try is restored",
        ),
        pytest.param(
            [row("2", 1, -50.0)],
            claim("", "2", claimed_ago=3650),
            [Verdict("2", Fate.RETURNED, ("run_count",), run_count=0)],
            id="a lease that has ended: only the try is restored",
        ),
        pytest.param(
            [row("1", 0)], claim("", "1"), [Verdict("1", Fate.LEFT)], id="a row nobody claims is not ours"
        ),
    ],
)
def test_verdicts(rows, given, expected):
    assert settle(rows, given) == expected


@pytest.mark.parametrize(("off", "ours"), [(-13, False), (-12, True), (0, True), (2, True), (3, False)])
def test_a_claim_that_waited_for_the_table_may_have_begun_its_lease_earlier(off, ours):
    (verdict,) = settle([row("1", release_in=OURS + off)], claim("1", claim_seconds=10.0))
    assert (verdict.fate is Fate.RELEASED) is ours


@pytest.mark.parametrize(("off", "ours"), [(-3, False), (-2, True), (0, True), (2, True), (3, False)])
def test_the_end_of_our_lease_may_be_off_by_two_seconds(off, ours):
    (verdict,) = settle([row("1", release_in=OURS + off)], claim("1"))
    assert (verdict.fate is Fate.RELEASED) is ours
