"""Which queue is next."""

import pytest
from support.records import queue

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


def test_a_full_batch_proves_there_is_more():
    state = queue(batch_limit=20, demand=False, empty=3, failures=2, failure="x")
    assert scheduling.proved(state, 19) == 0
    state = scheduling.claimed(state, 0, A, 1.0)
    assert (state.demand, state.last_identity, state.progress_at) == (0, A, 1.0)
    assert (state.empty, state.failures, state.failure) == (0, 0, "")
    assert scheduling.proved(state, 20) == 1


def test_an_order_goes_out():
    state = scheduling.begun(queue(weight=4, virtual_time=1.0, demand=3, unserved_since=2.0))
    assert (state.virtual_time, state.working, state.demand, state.unserved_since) == (1.25, 1, 2, 0.0)
