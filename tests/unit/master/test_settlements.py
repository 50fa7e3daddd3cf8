"""When control is asked to end something, and how often."""

from math import inf
from random import Random

import pytest

from coworker.master.ledger import Ledger
from coworker.master.settlements import ENOUGH_TIMES, RETRY_CAP, WATCH_CAP, LostClaim, Settlement, Settlements
from coworker.model import Item, Lease, QueueInfo, Unsettled

QUEUE = QueueInfo("q")


@pytest.fixture
def book():
    """It has a settlement (1) and a lost claim (2) that may be asked from second 5 on."""
    book = Settlements()
    claim = Ledger().open("1.1", QUEUE, 1, [Item("7"), Item("8")], ["7"], [Lease(1.0)])
    book.add(Settlement(claim, Unsettled(["7"], ["8"], "died")))
    book.add(LostClaim(QUEUE, 1.0, 2.0, "died", not_before=5.0))
    return book


def due(book, now):
    return [ref for ref, _ in book.due(now)]


def test_each_is_asked_when_it_may_and_by_one_only(book):
    assert (due(book, 1.0), due(book, 5.0)) == ([1], [1, 2])
    book.pending[1].asked = 9
    assert due(book, 5.0) == [2]
    assert book.next_at() == 5.0
    book.pending[2].asked = 9
    assert book.next_at() == inf


def test_what_is_unknown_is_looked_at_ever_more_seldom_and_that_alone(book):
    rng, now, pauses = Random(1), 10.0, []
    for _ in range(12):
        book.pending[1].asked = 9
        book.watch(1, ["7"], now, rng)
        pauses.append(book.pending[1].not_before - now)
        now = book.pending[1].not_before
    assert book.pending[1].part == Unsettled(["7"], [], "died")
    assert 0.7 < pauses[0] <= 1.0
    assert 20.0 < pauses[-1] <= WATCH_CAP
    assert max(pauses) <= WATCH_CAP
    assert due(book, now) == [1, 2]


def test_a_site_that_refuses_is_asked_again_after_some_seconds_at_most(book):
    rng, now = Random(1), 10.0
    for _ in range(9):
        book.pending[1].asked = 9
        assert book.failed(1, now, rng) is book.pending[1]
        assert now < book.pending[1].not_before <= now + RETRY_CAP
        now = book.pending[1].not_before
    assert book.failed(99, now, rng) is None


def test_nobody_waits_for_ever_for_what_a_former_daemon_left(book):
    assert not book.recovering()
    book.pending[2].recovered = True
    for _ in range(ENOUGH_TIMES):
        assert book.recovering()
        book.failed(2, 10.0, Random(1))
    assert not book.recovering()
    assert due(book, 100.0) == [1, 2], "it is tried all the same"
