"""Items whose claimer may not run them find a worker, or go back."""

from support.dispatch_bench import Bench
from support.records import record

from coworker.master.handoff import REFUSED_DELAY
from coworker.master.ledger import Place
from coworker.model import Identity

A = Identity(100, 1)


def test_handed_items_go_to_a_worker_of_their_identity_and_hold_the_queue_back():
    bench = Bench(3)
    bench.workers[3] = record(3, A)
    bench.seen("q", batch_limit=2)
    bench.assign(1)
    assert bench.took(1, "1.1", ["1", "2"], contact=100, domain=1) == 0
    bench.dispatch.handoff.hand_off(1, "1.1", ["1", "2"], 1.0)
    assert bench.assign(2) == {}
    (order,) = bench.assign(3).values()
    assert (order.claim, order.info.name, order.items) == ("1.1", "q", [[100, 1, ["1", "2"]]])
    assert bench.assign(2) == {}, "the queue is theirs now, as far as anybody knows"
    assert list(bench.assign(3)) == [3]


def test_handed_items_that_nobody_takes_go_back_after_two_seconds():
    bench = Bench()
    bench.seen("q")
    bench.assign(1)
    bench.took(1, "1.1", ["1"], contact=100, domain=1)
    bench.dispatch.handoff.hand_off(1, "1.1", ["1"], 1.0)
    assert bench.dispatch.next_at(2.5, boot_seconds=1.0) == 3.0
    bench.assign(2, now=2.9)
    assert bench.settlements() == []
    bench.assign(2, now=3.0)
    assert bench.settlements() == [([], ["1"], 0)]
    assert bench.dispatch.ledger.claims["1.1"].entries["1"].place is Place.SETTLING


def test_handed_items_that_cannot_go_back_wait_while_their_lease_allows():
    bench = Bench()
    bench.roster.gives_back = False
    bench.seen("q")
    bench.assign(1)
    bench.took(1, "1.1", ["1"], contact=100, domain=1)
    bench.dispatch.handoff.hand_off(1, "1.1", ["1"], 1.0)
    due = bench.dispatch.next_at(10.0, boot_seconds=1.0)
    assert 1000 < due < 2000, "of a lease of 3,600 seconds"
    bench.assign(2, now=due - 1)
    assert bench.settlements() == []
    bench.workers[3] = record(3, A)
    (order,) = bench.assign(3, now=due - 1).values()
    assert (order.claim, order.items) == ("1.1", [[100, 1, ["1"]]])


def test_handed_items_count_for_the_limit_that_their_queue_shares():
    bench = Bench(2)
    bench.workers[3] = record(3, A)
    bench.seen("user_job_1", type="Sql")
    bench.assign(1)
    bench.took(1, "1.1", ["1"], queue="user_job_1", contact=100, domain=1)
    bench.dispatch.handoff.hand_off(1, "1.1", ["1"], 1.0)
    bench.seen("user_job_1", "user_job_2", type="Sql")
    assert bench.assign(3) == {}, "its claimer is still at work"
    bench.dispatch.idle(bench.workers[1], "handed", 1.0)
    ((number, order),) = bench.assign(1, 2, 3).items()
    assert (number, order.claim) == (3, "1.1"), "what is claimed goes first"
    assert bench.assign(1, 2) == {}
    bench.dispatch.idle(bench.workers[3], "ran", 1.0)
    assert len(bench.assign(1, 2)) == 1


def test_items_that_our_set_up_cannot_run_wait_a_minute():
    bench = Bench()
    bench.seen("q")
    bench.assign(1)
    bench.took(1, "1.1", ["1"])
    bench.dispatch.handoff.refuse("1.1", ["1"], "this pipe serves domain 1, not 2")
    assert bench.settlements() == [([], ["1"], REFUSED_DELAY)]
    assert bench.lines[-1][1] == "items_refused"
