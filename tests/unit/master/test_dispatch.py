"""Which worker gets what, and what becomes of the claims of one that is lost; without a process in sight."""

import pytest
from support.dispatch_bench import Bench
from support.records import record, site_settings

from coworker.config.settings import QueueSettings
from coworker.ipc import messages as m
from coworker.model import SYSTEM


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


def test_imports_have_one_worker_together_whatever_a_pattern_for_all_says():
    bench = Bench(3, queues=(QueueSettings("*", concurrency=4),))
    bench.seen("user_job_1", "user_job_2", type="Sql")
    (number,) = bench.assign()
    assert bench.dispatch.queues.mark_unserved(1.0) == [], "no worker need boot for the other"
    assert bench.assign(*{1, 2, 3} - {number}) == {}
    first = bench.workers[number].work.queue
    bench.dispatch.idle(bench.workers[number], "slice", 1.0)
    assert [w.info.name for w in bench.assign(number).values()] == [
        {"user_job_1": "user_job_2", "user_job_2": "user_job_1"}[first]
    ]


def test_a_full_batch_brings_in_nobody_where_the_shared_limit_is_reached():
    bench = Bench(4, queues=(QueueSettings("import/*", concurrency_total=2),))
    bench.seen("import/1", "import/2")
    assert sorted(bench.assign()) == [1, 2]
    report = m.Claimed("1.1", "import/1", [[None, None, ["1"]]], 1.0, 0.0)
    _, _, one_more = bench.dispatch.claimed(bench.workers[1], report, bench.can_join, 1.0)
    assert not one_more
    assert bench.assign(3, 4) == {}


def test_a_reload_changes_a_shared_limit_for_those_at_work_too():
    bench = Bench(3)
    bench.seen("user_job_1", "user_job_2")
    (number,) = bench.assign()
    rest = {1, 2, 3} - {number}
    more = site_settings(queues=(QueueSettings("user_job_*", concurrency_total=2),))
    bench.dispatch.reconfigure(more)
    assert len(bench.assign(*rest)) == 1
    bench.dispatch.reconfigure(site_settings())
    bench.dispatch.idle(bench.workers[number], "slice", 1.0)
    assert bench.assign(number) == {}, "one is still at work"


def test_a_lost_worker_no_longer_counts_for_the_shared_limit():
    bench = Bench(2)
    bench.seen("user_job_1", "user_job_2")
    (number,) = bench.assign()
    bench.lost(number, "kill", 2.0)
    assert len(bench.assign({1: 2, 2: 1}[number])) == 1


def test_nothing_is_claimed_when_claims_are_not_allowed():
    bench = Bench()
    bench.seen("q")
    assert bench.assign(claim=False) == {}


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


def test_a_lost_worker_leaves_what_it_began_and_what_it_did_not():
    bench = Bench()
    bench.seen("q", batch_limit=3)
    bench.assign(1)
    items = [[None, None, ["1"]], [100, 1, ["2"]], [None, None, ["3"]]]
    bench.dispatch.claimed(bench.workers[1], m.Claimed("1.1", "q", items, 1.0, 0.0), bench.can_join, 1.0)
    bench.lost(1, "kill", 2.0)
    assert bench.settlements() == [(["1", "3"], ["2"], 0)]
    assert bench.dispatch.queues.states["q"].working == 0


@pytest.mark.parametrize(("begun", "expected"), [(True, (["1"], [], 0)), (False, ([], ["1"], 0))])
def test_a_run_that_is_refused_begins_nothing_and_backs_the_queue_off(begun, expected):
    bench = Bench()
    bench.seen("q")
    bench.assign(1)
    bench.took(1, "1.1", ["1"])
    bench.dispatch.unanswered(m.Unanswered("1.1", ["1"], "x", begun), 1.0)
    assert bench.settlements() == [expected]
    assert (bench.dispatch.queues.states["q"].retry_at > 1.0) is not begun


def fail_to_run(bench, number, now, message="outcomeCount=0"):
    """One more batch of q that is claimed and cannot be run. Returns the seconds until the next try."""
    bench.seen("q", batch_limit=1, now=now)
    assert bench.assign(1, now=now)
    bench.took(1, f"1.{number}", [str(number)])
    bench.dispatch.unanswered(m.Unanswered(f"1.{number}", [str(number)], message, begun=False), now)
    bench.dispatch.idle(bench.workers[1], "failed", now)
    return bench.dispatch.queues.states["q"].retry_at - now


def test_a_queue_that_is_claimed_again_and_again_but_cannot_be_run_backs_off_up_to_minutes_and_is_said_once():
    bench = Bench(1)
    now, pauses = 1.0, []
    for number in range(12):
        pauses.append(fail_to_run(bench, number, now, f"itemCount={number} outcomeCount=0"))
        bench.seen(now=now)  # its items are on their way back: the look does not see them
        now += pauses[-1]
    assert pauses[0] <= 1.0
    assert pauses[-1] > 200.0
    for event in ("run_unanswered", "claim_failed"):
        levels = [level for level, name, _ in bench.lines if name == event]
        assert levels[0] != "debug"
        assert set(levels[1:]) == {"debug"}
    entries = list(bench.dispatch.settler.settlements.of_claims())
    assert [entry.quiet for entry in entries] == [False] + [True] * 11
    bench.dispatch.queues.ran("q")
    assert fail_to_run(bench, 12, now) <= 1.0


def test_nobody_joins_in_on_a_queue_that_could_not_be_run():
    bench = Bench()
    fail_to_run(bench, 1, 1.0)
    bench.seen("q", batch_limit=1, now=9.0)
    assert bench.assign(1, now=9.0)
    bench.took(1, "1.2", ["2"])
    assert bench.dispatch.queues.states["q"].demand <= 1
    joined = []
    bench.dispatch.queues.claimed("q", 1, SYSTEM, 9.0, lambda: joined.append(1) or True)
    assert joined == []


def test_without_overlap_the_order_ends_at_the_limit():
    bench = Bench(1, overlap=False)
    bench.workers[1] = record(1, SYSTEM, max_requests=10, done=7)
    bench.seen("q")
    assert bench.assign()[1].quota == 3


@pytest.mark.parametrize("remote", [True, False])
def test_whose_processes_are_out_of_reach_is_the_workers_own_matter_whatever_a_reload_says(remote):
    bench = Bench(1)
    bench.workers[1] = record(1, SYSTEM, remote=remote)
    bench.seen("q")
    bench.assign(1)
    bench.took(1, "1.1", ["1"])
    entry = bench.dispatch.ledger.claims["1.1"].entries["1"]
    assert entry.begun is not remote  # a remote worker says so for each item
    bench.lost(1, "kill", 2.0)
    (settlement,) = bench.dispatch.settler.settlements.of_claims()
    assert settlement.part.out_of_sight is remote
