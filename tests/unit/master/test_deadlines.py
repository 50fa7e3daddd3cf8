"""When a worker must be done, when control looks after it, and what its answers change."""

from math import inf

import pytest
from support.records import record, site_settings

from coworker.claims.beginnings import Beginning
from coworker.config.settings import QueueSettings
from coworker.ipc.messages import Inspected
from coworker.log import SILENCE
from coworker.master.deadlines import RETRY, Deadlines
from coworker.master.ledger import Ledger
from coworker.master.roster import Roster
from coworker.model import Item, Lease, QueueInfo, WorkerState

TIMEOUT = 100.0
SHOWN = "2026-11-21 18:37:27"  # the release_time of its rows


class Bench:
    """One worker that runs a batch of its claim since second 10."""

    def __init__(self, count=1, lease_time=3600, gives_back=True, claimed_at=10.0, notes=None, release=SHOWN):
        queues = (QueueSettings("slow", task_timeout=7.0),)
        settings = site_settings(task_timeout=TIMEOUT, queues=queues)
        self.ledger = Ledger()
        self.timers = []
        self.roster = Roster(SILENCE)
        self.roster.gives_back = gives_back
        self.deadlines = Deadlines(settings, self.ledger, self, lambda _worker: self.notes)
        self.notes = notes
        self.worker = record(state=WorkerState.BUSY, notes=notes is not None)
        items = [Item(str(n)) for n in range(1, count + 1)]
        queue = QueueInfo("q", lease_time=lease_time)
        self.claim = self.ledger.open(
            "1.1", queue, 1, items, [item.id for item in items], [Lease(claimed_at, release=release)]
        )
        self.deadlines.begun(self.worker, self.claim, count, 10.0)

    def set_deadline(self, _record, at):
        """It is its own watchdog."""
        self.timers.append(at)

    set = set_deadline

    def on_ladder(self, _record):
        return False

    def due(self, now):
        return self.deadlines.due([self.worker], 9, now)

    def inspected(self, ids, now, at=0.0):
        return self.deadlines.inspected(Inspected("1.1", ids, at, 0.1), [self.worker], now)


def test_one_item_has_its_time_and_nobody_looks():
    bench = Bench()
    assert (bench.worker.timing.deadline, bench.worker.timing.inspect_at) == (110.0, inf)
    assert bench.timers == [110.0]


def test_a_batch_has_the_time_of_all_and_is_looked_at_within_the_time_of_one():
    bench = Bench(count=3)
    assert bench.worker.timing.deadline == 310.0
    assert bench.timers == [35.0]
    assert bench.due(34.9) == []
    (order,) = bench.due(35.0)
    assert (order.ids, order.renew) == (["1", "2", "3"], False)
    assert bench.due(36.0) == []


def test_an_item_that_vanished_begins_the_next_ones_time():
    bench = Bench(count=3)
    for now, ids, late in (
        (35.0, ["1", "2", "3"], False),
        (110.0, ["2", "3"], False),
        (209.0, ["2", "3"], False),
        (210.0, ["2", "3"], True),
    ):
        bench.due(now)
        assert bench.inspected(ids, now) == ([bench.worker] if late else []), now


def test_a_look_that_was_asked_in_time_and_answered_late_ends_nothing():
    bench = Bench(count=2)
    bench.due(109.0)
    assert bench.inspected(["1", "2"], 111.0) == []
    bench.due(111.0)
    assert bench.inspected(["1", "2"], 112.0) == [bench.worker]


def test_without_looks_a_batch_has_the_time_of_all():
    bench = Bench(count=3, gives_back=False)
    assert (bench.worker.timing.deadline, bench.worker.timing.inspect_at) == (310.0, inf)


def test_a_lease_that_may_not_suffice_is_renewed_and_then_does():
    bench = Bench(lease_time=40)
    assert bench.worker.timing.deadline == 10.0 + 33.0
    assert bench.worker.timing.inspect_at == 10.0 + 20.0
    (order,) = bench.due(30.0)
    assert order.renew
    assert bench.claim.renewing == 30.0
    assert bench.inspected(["1"], 30.2, at=30.1) == []
    assert bench.worker.timing.deadline == pytest.approx(30.0 + 33.0)
    assert bench.worker.timing.inspect_at == pytest.approx(50.0)
    assert bench.claim.leases == [Lease(10.0, release=SHOWN), Lease(30.1, 0.1, "")]


def test_a_lease_that_suffices_is_left_alone():
    assert Bench(lease_time=200).worker.timing.inspect_at == inf


def test_a_lease_too_short_to_renew_ends_the_order():
    bench = Bench(lease_time=15)
    assert (bench.worker.timing.deadline, bench.worker.timing.inspect_at) == (18.0, inf)


@pytest.mark.parametrize("how", ["refused", "failed", "control gone"])
def test_a_renewal_that_did_not_come_about_is_asked_again_and_may_have_happened(how):
    bench = Bench(lease_time=40)
    bench.due(30.0)
    if how == "refused":
        bench.inspected(["1"], 31.0)
    elif how == "failed":
        bench.deadlines.failed("1.1", [bench.worker], 31.0)
    else:
        assert bench.deadlines.asked(9)
        bench.deadlines.control_gone(9, [bench.worker], 31.0)
    assert not bench.deadlines.asked(9)
    assert bench.worker.timing.deadline == 43.0
    assert bench.worker.timing.inspect_at == 31.0 + RETRY
    assert bench.claim.leases == [Lease(10.0, release=SHOWN), Lease(31.0, 1.0, "")]
    assert bench.claim.lease_from == 10.0
    (again,) = bench.due(33.0)
    assert again.renew
    assert again.leases == [Lease(10.0, release=SHOWN), Lease(31.0, 1.0, "")]


def test_an_answer_about_a_claim_that_is_over_changes_nothing():
    bench = Bench(count=2)
    bench.due(35.0)
    bench.ledger.end("1.1", ["1", "2"], 1)
    assert bench.inspected(["1", "2"], 36.0) == []
    assert bench.inspected(["1", "2"], 37.0) == []


def test_what_was_handed_on_keeps_its_lease_too():
    bench = Bench(count=2, lease_time=40)
    bench.ledger.hand_off("1.1", ["2"], 1)
    (order,) = bench.due(30.0)
    assert order.ids == ["1", "2"]


def test_a_claim_and_an_idle_worker_time_nothing_of_the_batch_before():
    bench = Bench(count=3)
    bench.deadlines.claiming(bench.worker, 20.0)
    timing = bench.worker.timing
    assert (timing.deadline, timing.inspect_at, timing.running) == (50.0, inf, None)
    bench.deadlines.idle(bench.worker)
    assert bench.due(1000.0) == []


def test_an_inspection_of_a_batch_that_may_outlast_its_lease_is_not_repeated_before_it_is_due():
    bench = Bench(count=40)  # 4,000 seconds, under a lease of an hour
    bench.due(35.0)
    assert bench.inspected([str(n) for n in range(2, 41)], 35.0) == []
    assert bench.worker.timing.inspect_at == 35.0 + TIMEOUT / 4


class Noted:
    """What the pipe noted of the claim, to be changed as it goes on."""

    def __init__(self, *found):
        self.found = list(found)

    def of(self, _claim):
        return self.found


def test_what_the_pipe_noted_times_each_task_and_nobody_looks_at_rows():
    notes = Noted()
    bench = Bench(count=3, notes=notes)
    assert bench.worker.timing.inspect_at == inf
    assert bench.timers == [110.0]
    notes.found = [Beginning("1", 11.0, 60.0), Beginning("2", 71.5)]
    assert bench.deadlines.not_yet(bench.worker, 110.0)
    assert bench.timers[-1] == 171.5
    notes.found[1] = Beginning("2", 71.5, 99.0)  # between two tasks the time of the next begins
    assert bench.deadlines.not_yet(bench.worker, 171.5)
    assert bench.timers[-1] == 270.5
    notes.found.append(Beginning("3", 170.6))
    assert bench.deadlines.not_yet(bench.worker, 270.5)
    assert not bench.deadlines.not_yet(bench.worker, 270.6)


def test_what_does_not_even_begin_has_the_time_of_one_task():
    bench = Bench(count=3, notes=Noted())
    assert not bench.deadlines.not_yet(bench.worker, 110.0)


def test_where_the_notes_were_lost_the_rows_tell():
    notes = Noted()
    bench = Bench(count=3, notes=notes)
    notes.found = None
    assert bench.deadlines.not_yet(bench.worker, 110.0)
    (order,) = bench.due(110.0)
    assert order.claim == "1.1"
    assert bench.inspected(["3"], 111.0) == []
    assert bench.timers[-1] == 211.0


def test_a_lease_is_renewed_all_the_same():
    bench = Bench(count=30, lease_time=60, notes=Noted(Beginning("1", 10.5)))
    assert bench.timers[-1] == 40.0
    assert bench.deadlines.not_yet(bench.worker, 40.0)
    (order,) = bench.due(40.0)
    assert order.renew


def test_a_claim_that_does_not_say_its_release_time_is_read_once_when_it_is_a_second_old():
    bench = Bench(release=None)
    assert bench.timers == [11.0]
    (order,) = bench.due(11.0)
    assert not order.renew
    assert bench.deadlines.inspected(Inspected("1.1", ["1"], 0.0, 0.1, SHOWN), [bench.worker], 11.1) == []
    assert bench.claim.leases == [Lease(10.0, release=SHOWN)]
    assert bench.worker.timing.inspect_at == inf


def test_a_release_time_that_cannot_be_known_is_not_asked_for_again():
    bench = Bench(release=None)
    bench.due(11.0)
    assert bench.inspected([], 11.1) == []
    assert bench.claim.leases == [Lease(10.0, release="")]
    assert bench.worker.timing.inspect_at == inf


def test_a_pause_moves_every_time():
    notes = Noted(Beginning("1", 12.0))
    bench = Bench(count=2, notes=notes, lease_time=300)
    bench.deadlines.paused([bench.worker], 40.0, 25.0)
    assert (bench.worker.timing.task_deadline, bench.worker.timing.batch_deadline) == (135.0, 235.0)
    assert bench.deadlines.not_yet(bench.worker, 136.0)
    assert bench.timers[-1] == 137.0, "its task began before the pause"
    notes.found = [Beginning("1", 12.0, 110.0), Beginning("2", 122.5)]
    assert bench.deadlines.not_yet(bench.worker, 137.0)
    assert bench.timers[-1] == 222.5
