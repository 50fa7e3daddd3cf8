"""Who works on what, and who makes room."""

from support.records import record

from coworker.model import SYSTEM, Identity, Item, RetireReason, WorkerState
from coworker.policy import matching

A, B = Identity(100, 1), Identity(101, 1)


def test_a_batch_is_split_by_identity_in_order():
    items = [Item("1", A), Item("2", SYSTEM), Item("3", B), Item("4", A)]
    assert matching.split(items, None) == ([items[0], items[3]], [items[1], items[2]])
    assert matching.split(items, SYSTEM) == ([items[1]], [items[0], items[2], items[3]])
    assert matching.split(items[1:2], A) == ([], items[1:2])


def test_choose_prefers_who_knows_the_queue_then_the_identity_then_an_unbound_one():
    knows, same, unbound, other = (
        record(1, SYSTEM, last_queue="q"),
        record(2, A),
        record(3),
        record(4, B),
    )
    every = [other, unbound, same, knows]
    assert matching.choose(every, "q", None) is knows
    assert matching.choose(every, "q", A) is same
    assert matching.choose([other, unbound, knows], "q", A) is unbound
    assert matching.choose([other], "q", A) is None, "it would only claim to hand off"
    assert matching.choose([other], "q", None) is other
    assert matching.choose([], "q", A) is None


def test_place_never_gives_items_to_a_worker_of_another_identity():
    assert matching.place(A, [record(1, B), record(2, SYSTEM)]) is None
    unbound, mine = record(3), record(4, A)
    assert matching.place(A, [record(1, B), unbound]) is unbound
    assert matching.place(A, [unbound, mine]) is mine


def test_evict_waits_for_patience_while_one_that_fits_is_busy():
    fitting, idle, idler = (
        record(1, SYSTEM, WorkerState.BUSY),
        record(2, A, idle_since=9.0),
        record(3, B, idle_since=5.0),
    )
    every = [fitting, idle, idler]
    assert matching.evict(every, [matching.Want(SYSTEM, 0.4, handed=False)], 0.5) is None
    assert matching.evict(every, [matching.Want(SYSTEM, 0.5, handed=False)], 0.5) is idler


def test_evict_does_not_wait_for_somebody_who_does_not_exist():
    idle = record(1, A)
    assert matching.evict([idle], [matching.Want(B, 0.0, handed=False)], 0.5) is idle


def test_a_busy_worker_makes_room_only_for_what_is_claimed_already():
    busy = record(1, A, WorkerState.BUSY)
    assert matching.evict([busy], [matching.Want(B, 4.0, handed=False)], 0.5) is None
    assert matching.evict([busy], [matching.Want(B, 4.0, handed=True)], 0.5) is busy


def test_a_queue_that_starves_gets_a_busy_workers_place():
    busy = record(1, A, WorkerState.BUSY)
    assert matching.evict([busy], [matching.Want(B, 5.0, handed=False)], 0.5) is busy


def test_many_queues_of_one_identity_do_not_starve_one_of_another():
    busy = [record(1, A, WorkerState.BUSY), record(2, A, WorkerState.BUSY, idle_since=1.0)]
    turns = [matching.Want(A, waited, handed=False) for waited in (0.5, 1.0, 5.5)]
    starving = matching.Want(B, 6.0, handed=False)
    assert matching.evict(busy, [*turns, starving], 0.5) is busy[0]
    busy[0].life.expired = RetireReason.IDENTITY
    assert matching.evict(busy, [*turns, starving], 0.5) is None, "one place is enough"


def test_nobody_who_is_wanted_himself_makes_room():
    wants = [matching.Want(A, 9.0, handed=True), matching.Want(B, 9.0, handed=True)]
    assert matching.evict([record(1, A, WorkerState.BUSY)], wants, 0.5) is None


def test_evict_counts_the_help_that_is_coming():
    one = [matching.Want(B, 9.0, handed=True)]
    two = [*one, matching.Want(SYSTEM, 9.0, handed=True)]
    evicted = record(9, Identity(7, 1), expired=RetireReason.IDENTITY)
    for helper in (record(9), record(9, state=WorkerState.BOOTING), evicted):
        assert matching.evict([record(1, A), helper], one, 0.5) is None
        assert matching.evict([record(1, A), helper], two, 0.5) is not None
