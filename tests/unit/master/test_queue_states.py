"""What the master knows of each queue, and when it looks next."""

import pytest
from support.dispatch_bench import Bench

from coworker.model import QueueInfo


def test_a_queue_that_is_no_longer_seen_is_forgotten():
    bench = Bench()
    bench.seen("q", "r")
    bench.seen("r", now=2.0)
    assert list(bench.dispatch.queues.states) == ["r"]


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


def test_the_info_of_an_unknown_queue_is_a_default():
    bench = Bench()
    assert bench.took(1, "1.1", ["1"], queue="new") == 1
    assert bench.dispatch.queues.info("new") == QueueInfo("new")


@pytest.mark.parametrize(("can_join", "expected"), [(True, 3), (False, 1)])
def test_what_batches_prove_is_kept_only_while_somebody_could_join_in(can_join, expected):
    bench = Bench(1)
    bench.seen("q")
    bench.assign(1)
    bench.can_join = lambda: can_join
    for number in range(3):
        bench.took(1, f"1.{number}", [str(number)])
    assert bench.dispatch.queues.states["q"].demand == expected
