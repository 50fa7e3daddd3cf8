"""Every claim ends once: the ledger against a model, and the moves that it refuses."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coworker.errors import IllegalMoveError
from coworker.master.ledger import Ledger, Place
from coworker.model import Identity, Item, Lease, QueueInfo

QUEUE = QueueInfo("q")
OTHER = Identity(7, 1)


@pytest.fixture
def ledger():
    ledger = Ledger()
    ledger.open("1.1", QUEUE, 1, [Item("a"), Item("b", OTHER), Item("c")], "ac", [Lease(5.0)])
    return ledger


def begun(ledger, worker):
    return {e.item.id: e.begun for _, entries in ledger.at_worker(worker) for e in entries}


def test_items_of_the_bound_identity_are_begun_with_the_claim(ledger):
    assert begun(ledger, 1) == {"a": True, "b": False, "c": True}


def test_an_unbound_workers_items_are_begun_when_it_says_so():
    ledger = Ledger()
    ledger.open("1.1", QUEUE, 1, [Item("a"), Item("b")], (), [Lease(5.0)])
    assert begun(ledger, 1) == {"a": False, "b": False}
    ledger.begin("1.1", ["a"], 1)
    assert begun(ledger, 1) == {"a": True, "b": False}


def test_a_claim_is_closed_when_its_last_item_ended(ledger):
    assert ledger.end("1.1", ["a", "c"], 1) == 2
    assert list(ledger.claims["1.1"].entries) == ["b"]
    ledger.hand_off("1.1", ["b"], 1)
    ledger.give("1.1", ["b"], 2)
    assert begun(ledger, 2) == {"b": False}
    assert ledger.end("1.1", ["b"], 2) == 1
    assert not ledger.claims


def test_an_outcome_counts_once_and_only_from_the_worker_that_holds_the_item(ledger):
    assert ledger.end("1.1", ["a"], 2) == 0
    assert ledger.end("1.1", ["a"], 1) == 1
    assert ledger.end("1.1", ["a"], 1) == 0
    assert ledger.end("9.9", ["a"], 1) == 0


@pytest.mark.parametrize(
    "move",
    [
        lambda ledger: ledger.open("1.1", QUEUE, 1, [], (), [Lease(0.0)]),
        lambda ledger: ledger.hand_off("1.1", ["b"], 2),
        lambda ledger: ledger.hand_off("1.1", ["x"], 1),
        lambda ledger: ledger.hand_off("9.9", ["a"], 1),
        lambda ledger: ledger.give("1.1", ["a"], 2),
        lambda ledger: ledger.begin("1.1", ["a"], 2),
        lambda ledger: ledger.settle("1.1", ["a"], Place.HANDED),
        lambda ledger: ledger.settled("1.1", ["a"]),
    ],
)
def test_illegal_moves_are_refused(ledger, move):
    with pytest.raises(IllegalMoveError):
        move(ledger)


class Life(RuleBasedStateMachine):
    """Claims are taken, handed, run, lost and settled at random; the model is a plain dict."""

    def __init__(self):
        super().__init__()
        self.ledger = Ledger()
        self.places = {}  # (claim, item) → (place, worker)
        self.count = 0

    def some(self, data, place):
        keys = [key for key, where in self.places.items() if where[0] is place]
        return data.draw(st.sampled_from(keys)) if keys else None

    @rule(worker=st.integers(1, 3), size=st.integers(1, 4))
    def took(self, worker, size):
        self.count += 1
        claim = f"{worker}.{self.count}"
        self.ledger.open(
            claim,
            QUEUE,
            worker,
            [Item(str(n)) for n in range(size)],
            [str(n) for n in range(size)],
            [Lease(0.0)],
        )
        self.places |= {(claim, str(n)): (Place.AT_WORKER, worker) for n in range(size)}

    @rule(data=st.data())
    def done(self, data):
        if key := self.some(data, Place.AT_WORKER):
            assert self.ledger.end(key[0], [key[1]], self.places[key][1]) == 1
            del self.places[key]

    @rule(data=st.data())
    def handed(self, data):
        if key := self.some(data, Place.AT_WORKER):
            self.ledger.hand_off(key[0], [key[1]], self.places[key][1])
            self.places[key] = (Place.HANDED, None)

    @rule(data=st.data(), worker=st.integers(1, 3))
    def given(self, data, worker):
        if key := self.some(data, Place.HANDED):
            self.ledger.give(key[0], [key[1]], worker)
            self.places[key] = (Place.AT_WORKER, worker)

    @rule(worker=st.integers(1, 3))
    def lost(self, worker):
        for claim, entries in self.ledger.at_worker(worker):
            ids = [entry.item.id for entry in entries]
            self.ledger.settle(claim.id, ids, Place.AT_WORKER)
            for item in ids:
                assert self.places[claim.id, item] == (Place.AT_WORKER, worker)
                self.places[claim.id, item] = (Place.SETTLING, None)

    @rule(data=st.data())
    def settled(self, data):
        if key := self.some(data, Place.SETTLING):
            self.ledger.settled(key[0], [key[1]])
            del self.places[key]

    @rule(data=st.data(), worker=st.integers(1, 3))
    def a_stranger_cannot_end_an_item(self, data, worker):
        if (key := self.some(data, Place.AT_WORKER)) and self.places[key][1] != worker:
            assert self.ledger.end(key[0], [key[1]], worker) == 0

    @invariant()
    def nothing_is_forgotten(self):
        known = {
            (claim.id, item): (entry.place, entry.worker if entry.place is Place.AT_WORKER else None)
            for claim in self.ledger.claims.values()
            for item, entry in claim.entries.items()
        }
        assert known == self.places
        assert all(claim.entries for claim in self.ledger.claims.values()), "an ended claim is closed"


Life.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestLife = Life.TestCase
