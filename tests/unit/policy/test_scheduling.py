"""Which queue is next."""

import pytest
from support.records import queue

from coworker.config.settings import NO_TOTAL, Total
from coworker.model import SYSTEM, Identity
from coworker.policy import scheduling

A, B = Identity(100, 1), Identity(101, 1)


def served_by(identity):
    return lambda queue: queue.last_identity in (identity, None)


def test_turns_follow_the_weights():
    queues = [queue("a", weight=3), queue("b"), queue("c")]
    served = []
    for _ in range(50):
        chosen = scheduling.pick(queues, 0.0)
        queues[queues.index(chosen)] = scheduling.begun(chosen)._replace(working=0, demand=1)
        served.append(chosen.info.name)
    assert [served.count(name) for name in "abc"] == [30, 10, 10]


def test_a_queue_that_no_free_worker_fits_is_passed_over():
    mine = queue("mine", last_identity=A, virtual_time=1.0)
    theirs = queue("theirs", last_identity=B, virtual_time=0.0)
    unknown = queue("new", virtual_time=2.0)
    assert scheduling.pick([mine, theirs, unknown], 0.0, served_by(A)) is mine
    assert scheduling.pick([mine, theirs, unknown], 0.0, served_by(SYSTEM)) is unknown
    assert scheduling.pick([mine, theirs, unknown], 0.0) is theirs
    assert scheduling.pick([mine, theirs], 0.0, served_by(SYSTEM)) is None


def test_a_queue_that_had_nothing_gains_no_credit():
    old, new = queue("old", virtual_time=100.0), queue("new", virtual_time=0.0)
    new = scheduling.found(new._replace(demand=0), new.info, 100.0)
    assert (new.virtual_time, new.demand, new.seen) == (100.0, 1, True)
    assert scheduling.pick([old, new], 0.0) is old


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (queue(), True),
        (queue(demand=False), False),
        (queue(working=3), True),
        (queue(working=3, concurrency=3), False),
        (queue(working=2, concurrency=3), True),
        (queue(working=1, type="Sql"), False),
        (queue(type="Sql", concurrency=9), True),
        (queue(retry_at=5.1), False),
        (queue(retry_at=5.0), True),
        (queue(handed=1), False),
    ],
)
def test_assignable(state, expected):
    assert state.assignable(5.0) is expected


def shared(name, working=0, limit=2, pattern="import/*"):
    return queue(name, working=working, total=Total(pattern, limit))


@pytest.mark.parametrize(
    ("queues", "expected"),
    [
        ([shared("a", 1), shared("b")], "b"),
        ([shared("a", 1), shared("b", 1)], None),
        ([shared("a"), shared("b", 2)], None),
        ([shared("a"), shared("b", 3)], None),  # a reload has lowered the limit since
        ([shared("a"), shared("b", 9, 0)], "a"),  # another limit: none
        ([shared("a"), shared("b", 2, pattern="mail/*")], "a"),
        ([shared("a", 1, 1), shared("b", 0, 1), queue("free", working=5, virtual_time=9.0)], "free"),
        ([queue("a", working=7, total=NO_TOTAL), queue("b", working=7)], "a"),
    ],
)
def test_queues_that_share_a_limit_have_that_many_workers_together(queues, expected):
    chosen = scheduling.pick(queues, 0.0)
    assert (chosen and chosen.info.name) == expected


def test_what_is_left_of_a_shared_limit_goes_round():
    queues = [shared("a", limit=1), shared("b", limit=1)]
    served = []
    for _ in range(6):
        chosen = scheduling.pick(queues, 0.0)
        queues[queues.index(chosen)] = scheduling.begun(chosen)
        assert scheduling.pick(queues, 0.0) is None
        queues = [q._replace(working=0, demand=1) for q in queues]
        served.append(chosen.info.name)
    assert sorted(served) == ["a", "a", "a", "b", "b", "b"]


def test_a_batch_leaves_the_limits_as_they_are():
    state = scheduling.claimed(shared("a", 1), 0, A, 1.0)
    assert (state.total, state.working) == (Total("import/*", 2), 1)


def test_a_full_batch_proves_there_is_more():
    state = queue(batch_limit=20, demand=False, empty=3, failures=2, failure="x")
    assert scheduling.proved(state, 19) == 0
    state = scheduling.claimed(state, 0, A, 1.0)
    assert (state.demand, state.last_identity, state.progress_at) == (0, A, 1.0)
    assert (state.empty, state.failures, state.failure) == (0, 2, "x"), "it may be refused to be run"
    assert scheduling.proved(state, 20) == 1


def test_an_order_goes_out():
    state = scheduling.begun(queue(weight=4, virtual_time=1.0, demand=3, unserved_since=2.0))
    assert (state.virtual_time, state.working, state.demand, state.unserved_since) == (1.25, 1, 2, 0.0)
