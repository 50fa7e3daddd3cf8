"""What becomes of claims without an answer (rules 3 to 7)."""

import pytest

from coworker.model import QueueInfo, Unsettled
from coworker.policy.settlement import Fate, LeaseAge, OpenClaim, RowSeen, Verdict, orphans, settle


def claim(sent=(), unsent=(), *, ago=100.0, within=0.0, leases=None, retry_limit=0, runner="task", **part):
    queue = QueueInfo("q", lease_time=3600, retry_interval=7, retry_limit=retry_limit, runner=runner)
    return OpenClaim(queue, Unsettled(list(sent), list(unsent), **part), leases or [LeaseAge(ago, within)])


OURS = 3500.0  # what is left of the lease


def row(item, run_count=1, release_in=OURS):
    return RowSeen(item, run_count, release_in)


GIVEN_BACK = ("run_count", "release_time")


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
                Verdict("1", Fate.TRY_COUNTED, ("release_time",), release=7),
                Verdict("2", Fate.GIVEN_BACK, GIVEN_BACK, run_count=2),
            ],
            id="the first was begun, the later ones were not",
        ),
        pytest.param(
            [row("1", 1, 1.0), row("2"), row("3")],
            claim("0123"),
            [
                Verdict("0", Fate.FINISHED),
                Verdict("1", Fate.LEFT),
                Verdict("2", Fate.TRY_COUNTED, ("release_time",), release=7),
                Verdict("3", Fate.GIVEN_BACK, GIVEN_BACK, run_count=0),
            ],
            id="the culprit is the first row still under the lease, not the first row left",
        ),
        pytest.param(
            [row("1"), row("2")],
            claim("12", runner="other"),
            [Verdict(i, Fate.TRY_COUNTED, ("release_time",), release=7) for i in "12"],
            id="a runner that keeps no order: all count as begun",
        ),
        pytest.param(
            [row("1"), row("2")],
            claim("12", stopped_by_us=True),
            [Verdict(i, Fate.GIVEN_BACK, GIVEN_BACK, run_count=0) for i in "12"],
            id="killed by us at stop: the begun one is given back too",
        ),
        pytest.param(
            [row("1"), row("2")],
            claim("12", signalled=True),
            [Verdict(i, Fate.GIVEN_BACK, GIVEN_BACK, run_count=0) for i in "12"],
            id="a signal for others: the begun one is given back too",
        ),
        pytest.param(
            [row("1"), row("2")],
            claim("12", signalled=True, unspared=["1", "2"]),
            [
                Verdict("1", Fate.TRY_COUNTED, ("release_time",), release=7),
                Verdict("2", Fate.GIVEN_BACK, GIVEN_BACK, run_count=0),
            ],
            id="a signal for others once too often: what was begun counts",
        ),
        pytest.param(
            [row("1")],
            claim("1", stopped_by_us=True, signalled=True, unspared=["1"]),
            [Verdict("1", Fate.GIVEN_BACK, GIVEN_BACK, run_count=0)],
            id="at a stop no signal is one too many",
        ),
        pytest.param(
            [row("1"), row("2")],
            claim("", "12", delay=60),
            [Verdict(i, Fate.GIVEN_BACK, GIVEN_BACK, run_count=0, release=60) for i in "12"],
            id="never sent: given back, later if asked",
        ),
        pytest.param(
            [row("1", 1, 8.0), row("2", 1, 8.0)],
            claim("12", ago=3592),
            [Verdict("1", Fate.TRY_COUNTED), Verdict("2", Fate.GIVEN_BACK, ("run_count",), run_count=0)],
            id="a lease about to end: only the try is restored",
        ),
        pytest.param(
            [row("2", 1, -50.0)],
            claim("", "2", ago=3650),
            [Verdict("2", Fate.GIVEN_BACK, ("run_count",), run_count=0)],
            id="a lease that has ended: only the try is restored",
        ),
        pytest.param(
            [row("1", 0), row("2", 0)],
            claim("1", "2"),
            [
                Verdict("1", Fate.TRY_COUNTED, GIVEN_BACK, run_count=1, release=7),
                Verdict("2", Fate.GIVEN_BACK, ("release_time",)),
            ],
            id="somebody took our tries for a lost claim's: what was begun counts all the same",
        ),
        pytest.param(
            [row("1", 2), row("2", 2)],
            claim("12", retry_limit=5, poisoned=["1", "2"]),
            [
                Verdict("1", Fate.TRY_COUNTED, GIVEN_BACK, run_count=7, release=7),
                Verdict("2", Fate.GIVEN_BACK, GIVEN_BACK, run_count=1),
            ],
            id="poison: only what was begun is not called again",
        ),
        pytest.param(
            [row("1", 2, 8.0)],
            claim("1", ago=3592, retry_limit=5, poisoned=["1"]),
            [Verdict("1", Fate.TRY_COUNTED, ("run_count",), run_count=7)],
            id="poison with a lease about to end: it need not be touched",
        ),
        pytest.param(
            [row("1", release_in=3590.0), row("2", release_in=OURS), row("3", release_in=3555.0)],
            claim("123", leases=[LeaseAge(100.0), LeaseAge(10.0)]),
            [
                Verdict("1", Fate.TRY_COUNTED, ("release_time",), release=7),
                Verdict("2", Fate.GIVEN_BACK, GIVEN_BACK, run_count=0),
                Verdict("3", Fate.LEFT),
            ],
            id="a lease that was renewed, for some of them",
        ),
        pytest.param(
            [row("1"), row("2")],
            claim("1", "2", out_of_sight=True),
            [Verdict("1", Fate.UNKNOWN), Verdict("2", Fate.GIVEN_BACK, GIVEN_BACK, run_count=0)],
            id="what runs out of sight is waited for",
        ),
        pytest.param(
            [row("1"), row("2"), row("3", 0)],
            claim("123", begun=["1"], out_of_sight=True),
            [
                Verdict("1", Fate.UNKNOWN),
                Verdict("2", Fate.TRY_RESTORED, ("run_count",), run_count=0),
                Verdict("3", Fate.TRY_RESTORED),
            ],
            id="and what may be begun there yet keeps its lease",
        ),
        pytest.param(
            [row("1", 1, -1.0)],
            claim("1", ago=3601, out_of_sight=True),
            [Verdict("1", Fate.LEFT)],
            id="but not beyond its lease",
        ),
    ],
)
def test_verdicts(rows, given, expected):
    assert settle(rows, given) == expected


@pytest.mark.parametrize(("off", "ours"), [(-13, False), (-12, True), (0, True), (2, True), (3, False)])
def test_a_claim_that_waited_for_the_table_may_have_begun_its_lease_earlier(off, ours):
    (verdict,) = settle([row("1", release_in=OURS + off)], claim("1", within=10.0))
    assert (verdict.fate is Fate.TRY_COUNTED) is ours


@pytest.mark.parametrize(("off", "ours"), [(-3, False), (-2, True), (0, True), (2, True), (3, False)])
def test_the_end_of_our_lease_may_be_off_by_two_seconds(off, ours):
    (verdict,) = settle([row("1", release_in=OURS + off)], claim("1"))
    assert (verdict.fate is Fate.TRY_COUNTED) is ours


LOST = LeaseAge(100.0, 20.0)  # sent 120 s ago, and nothing of it ran 100 s ago


@pytest.mark.parametrize(
    ("found", "sole", "expected"),
    [
        pytest.param(row("1"), True, Verdict("1", Fate.GIVEN_BACK, GIVEN_BACK), id="nobody else is there"),
        pytest.param(
            row("1", 3), False, Verdict("1", Fate.TRY_RESTORED, ("run_count",), run_count=2), id="or perhaps"
        ),
        pytest.param(
            row("1", 1, 8.0),
            True,
            None,
            id="another lease",
        ),
        pytest.param(row("named"), True, None, id="named by another answer"),
        pytest.param(row("1", 0), True, None, id="restored already"),
        pytest.param(row("1", release_in=None), True, None, id="free"),
        pytest.param(row("1", release_in=3477.0), True, None, id="claimed before"),
        pytest.param(
            row("1", release_in=3478.0),
            True,
            Verdict("1", Fate.GIVEN_BACK, GIVEN_BACK),
            id="claimed at the first",
        ),
        pytest.param(row("1", release_in=3503.0), True, None, id="claimed since"),
    ],
)
def test_what_a_lost_claim_took(found, sole, expected):
    verdicts = orphans([found], [LOST], 3600, {"named"}, sole=sole)
    assert verdicts == ([expected] if expected else [])


def test_a_lost_claim_whose_lease_is_about_to_end_frees_nothing():
    found = RowSeen("1", 1, 5.0)
    (verdict,) = orphans([found], [LeaseAge(3590.0, 10.0)], 3600, (), sole=True)
    assert verdict == Verdict("1", Fate.TRY_RESTORED, ("run_count",), run_count=0)


def test_of_one_claims_rows_those_that_end_later_were_claimed_by_somebody_else_since():
    rows = [row("1", 2, OURS + 1), row("2", 1, OURS), row("3", 1, OURS)]
    first, second, third = settle(rows, claim("123"))
    assert first == Verdict("1", Fate.LEFT)
    assert (second.fate, third.fate) == (Fate.TRY_COUNTED, Fate.GIVEN_BACK)


SHOWN = "2026-11-21 19:37:27"


@pytest.mark.parametrize(
    ("shown", "off", "fate"),
    [
        pytest.param(SHOWN, -30.0, Fate.TRY_COUNTED, id="the clock was set: only the age is wrong"),
        pytest.param(SHOWN, 7200.0, Fate.TRY_COUNTED, id="by hours"),
        pytest.param("2026-11-21 19:37:28", 0.0, Fate.LEFT, id="another lease, a second later"),
        pytest.param("2026-11-21 20:37:27", 0.0, Fate.TRY_COUNTED, id="in another zone, and of its age"),
        pytest.param("2026-11-21 20:37:27", 30.0, Fate.LEFT, id="in another zone, of another age"),
        pytest.param(None, 0.0, Fate.TRY_COUNTED, id="not shown, and of its age"),
    ],
)
def test_a_row_is_known_by_its_release_time(shown, off, fate):
    row_seen = RowSeen("1", 1, OURS + off, shown)
    (verdict,) = settle([row_seen], claim("1", leases=[LeaseAge(100.0, 0.0, SHOWN)]))
    assert verdict.fate is fate
