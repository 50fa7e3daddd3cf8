"""How long anything may take."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coworker.policy import timeouts
from coworker.policy.settlement import LEASE_MARGIN
from coworker.policy.timeouts import LADDER_SECONDS, LEASE_SHARE, RENEWAL_MARGIN

leases = st.integers(1, 100_000)


def test_the_ladder_ends_with_kill_again_and_again():
    assert [timeouts.next_step(rung).value for rung in range(5)] == [
        "message",
        "term",
        "kill",
        "kill",
        "kill",
    ]


@pytest.mark.parametrize(
    ("lease", "seconds"),
    [
        (3600, 3239.1),  # nine tenths of what it is at least
        (61, 54.0),  # the same, and just the ladder's time besides
        (31, 24.0),  # the ladder has to fit in
        (10, 4.5),  # it does not: then half
        (2, 0.5),
        (1, 0.5),
    ],
)
def test_how_much_of_a_lease_may_be_used(lease, seconds):
    assert timeouts.usable(lease) == pytest.approx(seconds)


@given(leases)
def test_an_order_ends_within_its_lease_and_leaves_the_ladder_its_time_or_half(lease):
    left = lease - 1 - timeouts.usable(lease)  # the site may count one second less
    assert timeouts.usable(lease) < lease
    assert timeouts.usable(lease) <= LEASE_SHARE * max(1, lease - 1)
    if lease > 1:
        assert left >= min(LADDER_SECONDS, (lease - 1) / 2) - 1e-6


@given(leases)
def test_a_longer_lease_is_never_worth_less(lease):
    assert timeouts.usable(lease) <= timeouts.usable(lease + 1)


@pytest.mark.parametrize(
    ("lease", "seconds"), [(3600, 1800.0), (31, 15.5), (29, 14.0), (17, 2.0), (16, 1.0), (15, inf), (1, inf)]
)
def test_when_a_lease_is_renewed(lease, seconds):
    assert timeouts.renew_after(lease) == seconds


@given(leases)
def test_a_renewal_comes_before_the_order_has_to_end_and_before_rows_may_not_be_touched(lease):
    at = timeouts.renew_after(lease)
    if at < inf:
        assert 1 <= at < timeouts.usable(lease)
        assert lease - at >= RENEWAL_MARGIN > LEASE_MARGIN


@pytest.mark.parametrize(("timeout", "seconds"), [(600.0, 150.0), (1.0, 0.25), (0.8, 0.2), (0.1, 0.2)])
def test_a_batch_is_looked_at_four_times_within_the_time_of_a_task_but_not_all_the_time(timeout, seconds):
    assert timeouts.inspect_after(timeout) == pytest.approx(seconds)
