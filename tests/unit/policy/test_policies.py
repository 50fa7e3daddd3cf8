"""The small policies, as tables."""

from random import Random

import pytest
from support.records import queue, record

from coworker.model import SYSTEM, Identity, Item, RetireReason, WorkerState
from coworker.policy import backoff, escalation, matching, polling, recycling, scheduling
from coworker.policy.backoff import Breaker

A, B = Identity(100, 1), Identity(101, 1)


class TestBackoff:
    @pytest.mark.parametrize(("failures", "full"), [(1, 1), (2, 2), (5, 16), (9, 256), (10, 300), (99, 300)])
    def test_doubles_up_to_the_cap_with_jitter_below(self, failures, full):
        delays = [backoff.delay(failures, Random(n), base=1.0, cap=300.0) for n in range(50)]
        assert all(0.75 * full <= delay <= full for delay in delays)
        assert len(set(delays)) > 40

    def test_breaker_opens_after_three_failures_in_a_row_and_remembers_since_when(self):
        breaker = Breaker()
        for now in (10.0, 11.0):
            breaker = breaker.failed(now, "gone", Random(1), begun=now)
            assert not breaker.is_open
        breaker = breaker.failed(12.0, "gone", Random(1), begun=12.0)
        assert breaker.open_since == 12.0
        assert breaker.failed(20.0, "else", Random(1), begun=20.0).open_since == 12.0
        assert breaker.succeeded() == Breaker()

    def test_boots_that_were_under_way_together_count_as_one(self):
        breaker = Breaker().failed(10.0, "one", Random(1), begun=9.0)
        for now in (10.1, 10.2, 10.3):
            breaker = breaker.failed(now, "two", Random(1), begun=9.5)
        assert (breaker.failures, breaker.is_open, breaker.reason) == (1, False, "two")
        assert breaker.failed(11.0, "three", Random(1), begun=10.5).failures == 2

    def test_probes_come_one_at_a_time_at_most_five_seconds_apart(self):
        breaker = Breaker()
        for now in range(20):
            breaker = breaker.failed(float(now), "gone", Random(now), begun=now)
            assert breaker.next_boot_at <= now + 5.0
        assert not breaker.may_boot(breaker.next_boot_at - 0.01, 0)
        assert breaker.may_boot(breaker.next_boot_at, 0)
        assert not breaker.may_boot(breaker.next_boot_at, 1)
        assert Breaker().may_boot(0.0, 7)


class TestRecycling:
    def test_limits_vary_by_at_most_ten_percent(self):
        counts = {recycling.draw_count(200, Random(n)) for n in range(200)}
        assert min(counts) >= 180
        assert max(counts) <= 200
        assert len(counts) > 15
        ages = [recycling.draw_age(600.0, Random(n)) for n in range(200)]
        assert min(ages) >= 540
        assert max(ages) <= 600

    def test_zero_is_no_limit_and_one_stays_one(self):
        assert recycling.draw_count(0, Random(1)) == 0
        assert recycling.draw_age(0.0, Random(1)) == 0.0
        assert {recycling.draw_count(1, Random(n)) for n in range(20)} == {1}

    @pytest.mark.parametrize(
        ("given", "now", "expected"),
        [
            ({"max_requests": 5, "done": 4}, 0, None),
            ({"max_requests": 5, "done": 5}, 0, RetireReason.MAX_REQUESTS),
            ({"max_age": 10.0, "started_at": 100.0}, 109.9, None),
            ({"max_age": 10.0, "started_at": 100.0}, 110.0, RetireReason.MAX_AGE),
            ({"done": 10**9}, 10**9, None),
        ],
    )
    def test_expired(self, given, now, expected):
        assert recycling.expired(record(1, **given), now) is expected


def served_by(identity):
    return lambda queue: queue.last_identity in (identity, None)


class TestScheduling:
    def test_turns_follow_the_weights(self):
        queues = [queue("a", weight=3), queue("b"), queue("c")]
        served = []
        for _ in range(50):
            chosen = scheduling.pick(queues, 0.0)
            scheduling.begin(chosen)
            chosen.working, chosen.demand = 0, True
            served.append(chosen.info.name)
        assert [served.count(name) for name in "abc"] == [30, 10, 10]

    def test_a_queue_that_no_free_worker_fits_is_passed_over(self):
        mine = queue("mine", last_identity=A, virtual_time=1.0)
        theirs = queue("theirs", last_identity=B, virtual_time=0.0)
        unknown = queue("new", virtual_time=2.0)
        assert scheduling.pick([mine, theirs, unknown], 0.0, served_by(A)) is mine
        assert scheduling.pick([mine, theirs, unknown], 0.0, served_by(SYSTEM)) is unknown
        assert scheduling.pick([mine, theirs, unknown], 0.0) is theirs
        assert scheduling.pick([mine, theirs], 0.0, served_by(SYSTEM)) is None

    def test_a_queue_that_had_nothing_gains_no_credit(self):
        old, new = queue("old", virtual_time=100.0), queue("new", virtual_time=0.0)
        new.enter(100.0)
        assert new.virtual_time == 100.0
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
    def test_assignable(self, state, expected):
        assert state.assignable(5.0) is expected

    def test_a_full_batch_proves_there_is_more(self):
        state = queue(batch_limit=20, demand=False, empty=3, failures=2, failure="x")
        state.took(19, 1.0)
        assert not state.demand
        assert (state.empty, state.failures, state.failure) == (0, 0, "")
        state.took(20, 1.0)
        assert state.demand


class TestMatching:
    def test_a_batch_is_split_by_identity_in_order(self):
        items = [Item("1", A), Item("2", SYSTEM), Item("3", B), Item("4", A)]
        assert matching.split(items, None) == (A, [items[0], items[3]], [items[1], items[2]])
        assert matching.split(items, SYSTEM) == (SYSTEM, [items[1]], [items[0], items[2], items[3]])
        assert matching.split(items[1:2], A) == (A, [], items[1:2])

    def test_choose_prefers_who_knows_the_queue_then_the_identity_then_an_unbound_one(self):
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
        assert matching.choose([other], "q", A) is None, "it would only claim to hand on"
        assert matching.choose([other], "q", None) is other
        assert matching.choose([], "q", A) is None

    def test_place_never_gives_items_to_a_worker_of_another_identity(self):
        assert matching.place(A, [record(1, B), record(2, SYSTEM)]) is None
        unbound, mine = record(3), record(4, A)
        assert matching.place(A, [record(1, B), unbound]) is unbound
        assert matching.place(A, [unbound, mine]) is mine

    def test_evict_waits_for_patience_while_one_that_fits_is_busy(self):
        fitting, idle, idler = (
            record(1, SYSTEM, WorkerState.BUSY),
            record(2, A, idle_since=9.0),
            record(3, B, idle_since=5.0),
        )
        every = [fitting, idle, idler]
        assert matching.evict(every, [matching.Want(SYSTEM, 0.4, handed=False)], 0.5) is None
        assert matching.evict(every, [matching.Want(SYSTEM, 0.5, handed=False)], 0.5) is idler

    def test_evict_does_not_wait_for_somebody_who_does_not_exist(self):
        idle = record(1, A)
        assert matching.evict([idle], [matching.Want(B, 0.0, handed=False)], 0.5) is idle

    def test_a_busy_worker_makes_room_only_for_what_is_claimed_already(self):
        busy = record(1, A, WorkerState.BUSY)
        assert matching.evict([busy], [matching.Want(B, 4.0, handed=False)], 0.5) is None
        assert matching.evict([busy], [matching.Want(B, 4.0, handed=True)], 0.5) is busy

    def test_a_queue_that_starves_gets_a_busy_workers_place(self):
        busy = record(1, A, WorkerState.BUSY)
        assert matching.evict([busy], [matching.Want(B, 5.0, handed=False)], 0.5) is busy

    def test_many_queues_of_one_identity_do_not_starve_one_of_another(self):
        busy = [record(1, A, WorkerState.BUSY), record(2, A, WorkerState.BUSY, idle_since=1.0)]
        turns = [matching.Want(A, waited, handed=False) for waited in (0.5, 1.0, 5.5)]
        starving = matching.Want(B, 6.0, handed=False)
        assert matching.evict(busy, [*turns, starving], 0.5) is busy[0]
        busy[0].expired = RetireReason.IDENTITY
        assert matching.evict(busy, [*turns, starving], 0.5) is None, "one place is enough"

    def test_nobody_who_is_wanted_himself_makes_room(self):
        wants = [matching.Want(A, 9.0, handed=True), matching.Want(B, 9.0, handed=True)]
        assert matching.evict([record(1, A, WorkerState.BUSY)], wants, 0.5) is None

    def test_evict_counts_the_help_that_is_coming(self):
        one = [matching.Want(B, 9.0, handed=True)]
        two = [*one, matching.Want(SYSTEM, 9.0, handed=True)]
        evicted = record(9, Identity(7, 1), expired=RetireReason.IDENTITY)
        for helper in (record(9), record(9, state=WorkerState.BOOTING), evicted):
            assert matching.evict([record(1, A), helper], one, 0.5) is None
            assert matching.evict([record(1, A), helper], two, 0.5) is not None


class TestPolling:
    @pytest.mark.parametrize(
        ("look", "expected"), [(0.0, 0.2), (0.003, 0.2), (0.01, 0.5), (0.02, 1.0), (3.0, 1.0)]
    )
    def test_looking_takes_two_percent_of_the_time_at_most_up_to_the_cap(self, look, expected):
        assert polling.interval(look, 0.2, 1.0) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("state", "free", "skipped"),
        [
            (queue(), True, False),
            (queue(working=1, progress_at=9.0), True, False),
            (queue(working=1, progress_at=9.95), True, True),
            (queue(working=1, progress_at=0.0), False, True),
            (queue(working=1, type="Sql"), True, True),
            (queue(working=2, concurrency=2), True, True),
            (queue(retry_at=11.0), True, True),
        ],
    )
    def test_skip(self, state, free, skipped):
        assert (polling.skip([state], 10.0, free, 0.2) == ["q"]) is skipped


def test_the_ladder_ends_with_kill_again_and_again():
    assert [escalation.next_step(rung).value for rung in range(5)] == [
        "message",
        "term",
        "kill",
        "kill",
        "kill",
    ]
