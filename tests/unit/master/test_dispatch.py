"""Which worker gets what, and where every claim is; without a process in sight."""

from random import Random

import pytest
from support.fake_master import FakeLog
from support.records import record, site_settings, work_found

from coworker.config.settings import QueueSettings
from coworker.ipc import messages as m
from coworker.master.dispatch import Dispatch
from coworker.master.handoff import REFUSED_DELAY
from coworker.master.ledger import Place
from coworker.model import SYSTEM, Identity, Lease, QueueInfo

A = Identity(100, 1)


class Bench:
    """A dispatch with `count` free workers, and the log it wrote."""

    def __init__(self, count=2, queues=(), **workers):
        log = FakeLog()
        self.lines = log.lines
        settings = site_settings(queues=queues, **workers)
        self.dispatch = Dispatch(settings, log, Random(1))
        self.workers = {n: record(n, SYSTEM) for n in range(1, count + 1)}

    def seen(self, *names, now=1.0, **info):
        self.dispatch.queues.look(now, free=True, control=9)
        self.dispatch.queues.work_found(work_found(*names, **info), now)

    def assign(self, *numbers, now=1.0, claim=True):
        free = [self.workers[n] for n in numbers or self.workers]
        return {w.id: order for w, order in self.dispatch.assign(free, now, claim=claim)}

    def took(self, number, claim, ids, queue="q", now=1.0, contact=None, domain=None):
        items = [[contact, domain, list(ids)]]
        report = m.Claimed(claim, queue, items, now, 0.0)
        _, own, _ = self.dispatch.claimed(self.workers[number], report, now)
        return own

    def settlements(self):
        pending = self.dispatch.settler.settlements.pending.values()
        return [(e.part.sent, e.part.unsent, e.part.delay) for e in pending]


def test_a_queue_that_was_only_seen_gets_one_worker():
    bench = Bench()
    bench.seen("q")
    (order,) = bench.assign().values()
    assert (order.info.name, order.seconds, order.quota) == ("q", 0.5, 0)
    assert bench.assign(2) == {}


def test_a_full_batch_brings_in_one_more_worker_each():
    bench = Bench(4)
    bench.seen("q", batch_limit=2)
    bench.assign(1)
    bench.took(1, "1.1", ["1"])
    assert bench.assign(2) == {}
    bench.took(1, "1.2", ["2", "3"])
    assert list(bench.assign(2, 3)) == [2]


def test_full_batches_that_are_heard_of_together_bring_in_one_each():
    bench = Bench(5)
    bench.seen("q")
    bench.assign(1)
    bench.took(1, "1.1", ["1"])
    bench.took(1, "1.2", ["2"])
    assert list(bench.assign(2, 3, 4)) == [2, 3]


def test_limits_hold_for_linear_queues_and_by_settings():
    bench = Bench(4, queues=(QueueSettings("import/*", concurrency=2, weight=1, task_timeout=None),))
    bench.seen("lin", type="Sql")
    bench.assign(1)
    bench.took(1, "1.1", ["1"], queue="lin")
    assert bench.assign(2) == {}
    bench.seen("import/1")
    for number, claim in ((2, "2.1"), (3, "3.1")):
        assert list(bench.assign(number)) == [number]
        bench.took(number, claim, [claim], queue="import/1")
    assert bench.assign(4) == {}


def test_nothing_is_claimed_when_claims_are_not_allowed():
    bench = Bench()
    bench.seen("q")
    assert bench.assign(claim=False) == {}


def test_a_queue_that_is_no_longer_seen_is_forgotten():
    bench = Bench()
    bench.seen("q", "r")
    bench.seen("r", now=2.0)
    assert list(bench.dispatch.queues.states) == ["r"]


def test_a_small_queue_comes_before_the_next_slice_of_a_huge_one():
    bench = Bench(1)
    bench.seen("huge")
    for n in range(5):
        assert bench.assign()[1].info.name == "huge"
        bench.took(1, f"1.{n}", [str(n)], queue="huge")
        bench.dispatch.idle(bench.workers[1], "slice", 1.0)
    bench.seen("huge", "small")
    assert bench.assign()[1].info.name in ("huge", "small")
    first = bench.workers[1].work.queue
    bench.took(1, "1.9", ["9"], queue=first)
    bench.dispatch.idle(bench.workers[1], "slice", 1.0)
    assert {first, bench.assign()[1].info.name} == {"huge", "small"}


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
    bench.dispatch.handoff.can_give_back = False
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


def test_a_lost_worker_leaves_what_it_began_and_what_it_did_not():
    bench = Bench()
    bench.seen("q", batch_limit=3)
    bench.assign(1)
    items = [[None, None, ["1"]], [100, 1, ["2"]], [None, None, ["3"]]]
    bench.dispatch.claimed(bench.workers[1], m.Claimed("1.1", "q", items, 1.0, 0.0), 1.0)
    bench.dispatch.lost(bench.workers[1], "kill", 2.0, stopped_by_us=False, blameless=False)
    assert bench.settlements() == [(["1", "3"], ["2"], 0)]
    assert bench.dispatch.queues.states["q"].working == 0


def test_items_that_our_set_up_cannot_run_wait_a_minute():
    bench = Bench()
    bench.seen("q")
    bench.assign(1)
    bench.took(1, "1.1", ["1"])
    bench.dispatch.handoff.refuse("1.1", ["1"], "this pipe serves domain 1, not 2")
    assert bench.settlements() == [([], ["1"], REFUSED_DELAY)]
    assert bench.lines[-1][1] == "items_refused"


@pytest.mark.parametrize(("begun", "expected"), [(True, (["1"], [], 0)), (False, ([], ["1"], 0))])
def test_a_run_that_is_refused_begins_nothing_and_backs_the_queue_off(begun, expected):
    bench = Bench()
    bench.seen("q")
    bench.assign(1)
    bench.took(1, "1.1", ["1"])
    bench.dispatch.unanswered(m.Unanswered("1.1", ["1"], "x", begun), 1.0)
    assert bench.settlements() == [expected]
    assert (bench.dispatch.queues.states["q"].retry_at > 1.0) is not begun


def test_a_queue_whose_claims_fail_backs_off_alone_and_is_said_once():
    bench = Bench()
    bench.seen("bad", "good")
    bench.assign()
    for now in (1.0, 5.0, 9.0):
        bench.dispatch.queues.claim_failed("bad", "batch", now)
    state = bench.dispatch.queues.states["bad"]
    assert 9.0 + 3.0 <= state.retry_at <= 9.0 + 4.0
    assert bench.dispatch.queues.states["good"].retry_at == 0.0
    lines = [(level, fields["failures"]) for level, event, fields in bench.lines if event == "claim_failed"]
    assert lines == [("warning", 1), ("debug", 2), ("debug", 3)]


def test_ready_rows_but_empty_claims_are_tried_once_a_second_and_said_once():
    bench = Bench(1)
    for now in range(1, 6):
        bench.seen("q", now=float(now))
        if bench.assign(now=float(now)):
            bench.dispatch.idle(bench.workers[1], "empty", float(now))
    assert [event for _, event, _ in bench.lines].count("queue_gives_nothing") == 1
    assert bench.dispatch.queues.states["q"].retry_at >= 5.0


def test_after_work_the_next_look_follows_at_once():
    bench = Bench()
    bench.seen("q", now=1.0)
    assert bench.dispatch.queues.looks.next_at == pytest.approx(1.2)
    bench.assign(1)
    bench.took(1, "1.1", ["1"])
    bench.dispatch.idle(bench.workers[1], "empty", 1.05)
    assert bench.dispatch.queues.looks.next_at == 1.05


def test_without_overlap_the_order_ends_at_the_limit():
    bench = Bench(1, overlap=False)
    bench.workers[1] = record(1, SYSTEM, max_requests=10, done=7)
    bench.seen("q")
    assert bench.assign()[1].quota == 3


def test_settlements_are_asked_again_when_control_is_gone_and_later_when_the_site_fails():
    bench = Bench()
    bench.seen("q")
    bench.assign(1)
    bench.took(1, "1.1", ["1"])
    bench.dispatch.lost(bench.workers[1], "kill", 2.0, stopped_by_us=False, blameless=False)
    settler = bench.dispatch.settler
    book = settler.settlements

    def asked(control, now):
        return settler.orders(control, now, [], settler.due(now, in_haste=False))

    (order,) = asked(50, 4.0)
    assert (order.info.name, order.part.sent, order.leases) == ("q", ["1"], [Lease(1.0)])
    assert asked(50, 4.0) == []
    book.control_gone(49)
    assert asked(51, 4.0) == []
    book.control_gone(50)
    (again,) = asked(51, 5.0)
    assert again.ref == order.ref
    book.failed(order.ref, 5.0, Random(1))
    assert asked(51, 5.1) == []
    assert 5.3 < book.next_at() <= 5.5
    assert len(asked(51, 5.6)) == 1
    assert book.close(order.ref).cause == "kill"
    assert book.close(order.ref) is None


def test_the_info_of_an_unknown_queue_is_a_default():
    bench = Bench()
    assert bench.took(1, "1.1", ["1"], queue="new") == 1
    assert bench.dispatch.queues.info("new") == QueueInfo("new")


@pytest.mark.parametrize("remote", [True, False])
def test_whose_processes_are_out_of_reach_is_the_workers_own_matter_whatever_a_reload_says(remote):
    bench = Bench(1)
    bench.workers[1] = record(1, SYSTEM, remote=remote)
    bench.seen("q")
    bench.assign(1)
    bench.took(1, "1.1", ["1"])
    entry = bench.dispatch.ledger.claims["1.1"].entries["1"]
    assert entry.begun is not remote  # a remote worker says so for each item
    bench.dispatch.lost(bench.workers[1], "kill", 2.0, stopped_by_us=False, blameless=False)
    (settlement,) = bench.dispatch.settler.settlements.of_claims()
    assert settlement.part.out_of_sight is remote
