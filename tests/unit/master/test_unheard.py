"""A child says things in passing. Whatever it died with unsaid, its journal knows."""

import os
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_master import FakeMaster
from support.records import change_queue, queue_values, working_site

from coworker.claims.journal import Journal, child_file
from coworker.ipc import messages as m
from coworker.ipc.link import PASSING, ChildLink
from coworker.master.control_orders import FLUSH_PATIENCE
from coworker.model import SYSTEM, ExitStatus, Item, Lease, MasterPhase, Role

INFO = queue_values("q", batch_limit=2)


@pytest.fixture
def world(tmp_path):
    return make(tmp_path)


def make(folder, count=1):
    """A master, its site, and a worker that was told to work on the queue."""
    master = FakeMaster(folder)
    site, worker = working_site(master, count)
    return master, site, worker


class Child:
    """What a worker does, as it says it and as it notes it: pairs of a report and an entry in the journal."""

    def __init__(self, record):
        self.record, self.steps, self._claims, self._items, self.now = record, [], 0, 0, 2.0

    def _step(self, report, note):
        self.steps.append((report, note))

    def batch(self, size, *, runs, ends):
        self.now += 1.0
        at = self.now
        self._step(m.Claiming("q", at), lambda j: j.claiming(INFO, at))
        if not size:
            self._step(None, Journal.took_nothing)
            self._step(m.Idle("q", "empty"), Journal.flush)
            self._step(None, Journal.next_order)
            return
        self._claims += 1
        claim, ids = f"{self.record.id}.{self._claims}", [str(self._items + n) for n in range(size)]
        self._items += size
        items, lease, begun = [Item(each, SYSTEM) for each in ids], Lease(at + 0.1, 0.1), ids if runs else []
        took = m.Claimed(claim, "q", [[None, None, ids]], *lease)
        self._step(took, lambda j: j.took(claim, items, lease, begun=begun))
        if runs and ends:
            done = m.Done(claim, [["ok", ids]], 0.1)
            self._step(done, lambda j: j.ended(claim, ids))


def heard(site, record, steps, flushes=()):
    """Take the reports of these steps; those up to a place in `flushes`, or an Idle, left in one write."""
    outgoing = []
    for place, (report, _) in enumerate(steps, start=1):
        if report is not None:
            outgoing.append(report)
        if place in flushes or place == len(steps) or isinstance(report, m.Idle) or flushes == ():
            for each in m.condense(outgoing):
                site.reports.take(record, each, 5.0)
            outgoing = []
        if isinstance(report, m.Idle):  # the next order
            change_queue(site.dispatch, demand=1)
            site.decide(5.0)


def known(site, record):
    """What the master knows of the worker's claims: what is open, and the claim under way."""
    entries = {
        each: entry.begun
        for claim in site.dispatch.ledger.claims.values()
        for each, entry in claim.entries.items()
    }
    return entries, record.claiming


batches = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=5)


@given(batches, st.data())
def test_after_its_death_the_master_knows_as_much_as_if_it_had_said_all(tmp_path_factory, drawn, data):
    folder = tmp_path_factory.mktemp("claims")
    master, site, record = make(folder)
    child = Child(record)
    for size, ends in drawn:
        child.batch(size, runs=True, ends=ends)
        if not ends:
            break  # it died in this one
    died = data.draw(st.integers(0, len(child.steps)))
    said = data.draw(st.integers(0, died))
    journal = Journal(child_file(folder, record.pid, record.id), "s", os.getpid())
    for _, note in child.steps[:died]:
        note(journal)
    heard(site, record, child.steps[:said], data.draw(st.sets(st.integers(0, len(child.steps)))) or {-1})
    if any(isinstance(report, m.Idle) for report, _ in child.steps[said:died]):
        return  # an order is never over before that was said
    site.reports.take_unheard(record, 6.0)

    _, twin, twin_record = make(tmp_path_factory.mktemp("claims"))
    heard(twin, twin_record, child.steps[:died])
    entries, claiming = known(site, record)
    expected, expected_claiming = known(twin, twin_record)
    assert expected.items() <= entries.items()
    # What ended last, and that a claim gave nothing, is noted with the next line: its rows will tell.
    last = child.steps[died - 1][0] if died else None
    surplus = {item_id for _, ids in last.outcomes for item_id in ids} if isinstance(last, m.Done) else set()
    assert entries.keys() - expected.keys() <= surplus
    if last is not None:
        assert claiming == expected_claiming
    assert not [event for event in master.logged if event == "journal_unreadable"]


@given(batches, st.data())
def test_reports_that_leave_together_say_the_same_in_fewer_words(tmp_path_factory, drawn, data):
    worlds = [make(tmp_path_factory.mktemp("claims")) for _ in range(2)]
    told = []
    for condensed, (_, site, record) in zip((True, False), worlds, strict=True):
        child = Child(record)
        for size, ends in drawn:
            child.batch(size, runs=True, ends=ends)
            if not ends:
                break
        child.steps.append(
            (m.Claiming("q", child.now + 1.0), None)
        )  # a finished batch is never the last word
        flushes = data.draw(st.sets(st.integers(1, len(child.steps)))) or {-1} if condensed else ()
        heard(site, record, child.steps, flushes)
        state = site.dispatch.queues["q"]
        told.append(
            (
                *known(site, record),
                (record.done, record.claims, record.queue, record.deadline, record.state),
                (
                    state.demand,
                    state.working,
                    state.empty,
                    state.last_identity,
                    state.virtual_time,
                    state.seen,
                ),
            )
        )
    assert told[0] == told[1]


def test_a_batch_that_began_and_ended_meanwhile_is_one_report():
    took = m.Claimed("2.1", "q", [[None, None, ["1", "2"]]], 5.5, 0.5)
    done = m.Done("2.1", [["ok", ["1"]], ["retry", ["2"]]], 0.1, {"2": {"error": "x"}})
    worked = m.BatchDone("2.1", "q", 5.0, None, None, done.outcomes, 0.1, done.errors)
    assert m.condense([m.Claiming("q", 5.0), took, done, m.Claiming("q", 6.0)]) == [
        worked,
        m.Claiming("q", 6.0),
    ]


@pytest.mark.parametrize(
    "reports",
    [
        [
            m.Claimed("2.1", "q", [[None, None, ["1"]], [100, 1, ["2"]]], 5.5, 0.5),
            m.Done("2.1", [["ok", ["1"]]], 0.1),
        ],
        [m.Claimed("2.1", "q", [[None, None, ["1", "2"]]], 5.5, 0.5), m.Done("2.1", [["ok", ["1"]]], 0.1)],
        [
            m.Claimed("2.1", "q", [[100, 1, ["1"]]], 5.5, 0.5),
            m.Bound(100, 1),
            m.Done("2.1", [["ok", ["1"]]], 0.1),
        ],
        [m.Done("2.1", [["ok", ["1"]]], 0.1), m.Claimed("2.2", "q", [[None, None, ["1"]]], 5.5, 0.5)],
        [m.Claiming("q", 5.0), m.Idle("q", "empty")],
    ],
    ids=["two identities", "not all", "a login between", "another's", "nothing came"],
)
def test_what_more_must_be_said_is_said(reports):
    assert m.condense(reports) == reports


def test_a_journal_that_could_not_be_written_takes_nothing_back_that_was_said(world):
    master, site, record = world
    journal = Journal(child_file(master.claims, record.pid, record.id), "s", os.getpid())
    journal.claiming(INFO, 3.0)
    site.reports.take(record, m.Claiming("q", 3.0), 3.1)  # the disk is full then: the answer was said at once
    site.reports.take(record, m.Claimed(f"{record.id}.1", "q", [[None, None, ["7"]]], 3.1, 0.1), 3.1)
    site.reports.take_unheard(record, 6.0)
    assert known(site, record) == ({"7": True}, None)


def test_lines_that_nobody_can_read_and_a_torn_one_are_passed_over(world):
    master, site, record = world
    path = child_file(master.claims, record.pid, record.id)
    journal = Journal(path, "s", os.getpid())
    journal.claiming(INFO, 3.0)
    with path.open("ab") as stream:
        stream.write(b"garbage\n[]\n3\n")
    journal.took(f"{record.id}.1", [Item("7", SYSTEM)], Lease(3.1, 0.1), begun=["7"])
    with path.open("ab") as stream:
        stream.write(b'["took","x')
    site.reports.take_unheard(record, 6.0)
    assert known(site, record) == ({"7": True}, None)


def test_what_was_claimed_unheard_is_settled_when_its_worker_is_gone(world):
    master, site, record = world
    journal = Journal(child_file(master.claims, record.pid, record.id), "s", os.getpid())
    journal.claiming(INFO, 3.0)
    journal.took(f"{record.id}.1", [Item("7", SYSTEM), Item("8", SYSTEM)], Lease(3.1, 0.1), begun=["7", "8"])
    site.on_gone(record, ExitStatus(signal=9), 4.0)
    site.decide(4.1)
    (order,) = [order for _, order in master.sent if isinstance(order, m.Settle)]
    assert (order.sent, order.unsent) == (["7", "8"], [])


def test_before_rows_are_judged_all_who_work_are_asked_what_they_kept_back(tmp_path):
    master, site, record = make(tmp_path, count=2)
    other = next(r for r in master.records if r.role is Role.WORKER and r is not record)
    site.reports.take(record, m.Claimed(f"{record.id}.1", "q", [[None, None, ["7"]]], 2.0, 0.0), 2.0)
    change_queue(site.dispatch, demand=True)
    site.decide(2.1)
    assert other.queue == "q"
    site.on_gone(record, ExitStatus(signal=9), 3.0)
    site.decide(3.1)
    assert (other.id, m.Flush()) in master.sent
    assert not [order for _, order in master.sent if isinstance(order, m.Settle)]
    # What it kept back: it has claimed the row again, so that is no more the dead one's.
    site.reports.take(other, m.Claimed(f"{other.id}.1", "q", [[None, None, ["7"]]], 3.0, 0.0), 3.2)
    site.reports.take(other, m.Flushed(), 3.2)
    site.decide(3.2)
    assert not [order for _, order in master.sent if isinstance(order, m.Settle)]
    assert [claim.id for claim in site.dispatch.ledger.claims.values()] == [f"{other.id}.1"]


def test_who_is_stopped_and_says_nothing_holds_up_settling_for_a_moment_only(tmp_path):
    master, site, record = make(tmp_path, count=2)
    site.reports.take(record, m.Claimed(f"{record.id}.1", "q", [[None, None, ["7"]]], 2.0, 0.0), 2.0)
    change_queue(site.dispatch, demand=True)
    site.decide(2.1)
    site.on_gone(record, ExitStatus(signal=9), 3.0)
    site.decide(3.1)
    late = 3.1 + FLUSH_PATIENCE
    assert site.effects.timers.next_at <= late
    site.decide(late)
    assert [order.sent for _, order in master.sent if isinstance(order, m.Settle)] == [["7"]]


def test_at_a_stop_nobody_waits_for_those_who_have_left(tmp_path):
    master, site, record = make(tmp_path, count=2)
    site.reports.take(record, m.Claimed(f"{record.id}.1", "q", [[None, None, ["7"]]], 2.0, 0.0), 2.0)
    change_queue(site.dispatch, demand=True)
    site.decide(2.1)
    other = next(r for r in master.records if r.queue and r is not record)
    site.on_gone(record, ExitStatus(signal=9), 3.0)
    site.decide(3.1)
    site.stop(MasterPhase.HALTING, 3.2)
    site.on_gone(other, ExitStatus(signal=9), 3.3)
    site.decide(3.3)
    assert [order.sent for _, order in master.sent if isinstance(order, m.Settle)] == [["7"]]


class FakeChannel:
    """Keeps each write."""

    def __init__(self):
        self.writes, self.closed, self.broken, self.pending, self.incoming = [], False, False, False, b""

    def send(self, data):
        self.writes.append(data)

    def receive(self):
        data, self.incoming = self.incoming, b""
        return data


@pytest.fixture
def link():
    return ChildLink(FakeChannel())


def test_reports_wait_for_each_other_and_leave_in_one_write(link, monkeypatch):
    now = 100.0
    monkeypatch.setattr("coworker.ipc.link.time.monotonic", lambda: now)
    link.post(m.Claiming("q", 1.0))
    now += PASSING / 2
    link.post(m.Claiming("q", 2.0))
    assert link.tend(now) == 100.0 + PASSING
    assert link.channel.writes == []
    now = 100.0 + PASSING
    link.tend(now)
    (data,) = link.channel.writes
    assert data.count(b"\n") == 2
    link.tend(now + 100.0)
    assert len(link.channel.writes) == 1


def test_what_is_in_a_hurry_leaves_at_the_next_wait(link):
    link.hurry()
    link.post(m.Claiming("q", 1.0))
    link.tend(0.0)
    assert len(link.channel.writes) == 1


def test_haste_without_anything_to_say_is_over_at_once(link):
    link.hurry()
    assert link.tend(1.0) == inf
    assert link.channel.writes == []


def test_asked_for_it_the_child_says_all_at_once_even_in_the_midst_of_a_call(link):
    link.post(m.Claiming("q", 1.0))
    link.channel.incoming = m.encode(m.Flush())
    link.on_readable()
    assert b"".join(link.channel.writes).splitlines() == [
        m.encode(m.Claiming("q", 1.0))[:-1],
        m.encode(m.Flushed())[:-1],
    ]
    assert not link.inbox


def test_last_words_are_tried_whoever_listens(link):
    link.post(m.Claiming("q", 1.0))
    link.channel.broken = True
    link.say_what_is_left()
    assert len(link.channel.writes) == 1
