"""What a child that died had left unsaid, and what a daemon that was killed had open, their journals know."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.batches import INFO, Narrator, batches, heard, known
from support.claim_files import IDS, ITEMS, LEASE, QUEUE, reopened
from support.records import working_site

from coworker.claims.journal import Journal, child_file
from coworker.ipc import messages as m
from coworker.model import SYSTEM, ExitStatus, Item, Lease

# --- a child that died before it could say all ---


@pytest.fixture
def world(tmp_path):
    return working_site(tmp_path)


@given(batches, st.data())
def test_after_its_death_the_master_knows_as_much_as_if_it_had_said_all(tmp_path_factory, drawn, data):
    folder = tmp_path_factory.mktemp("claims")
    master, site, record = working_site(folder)
    child = Narrator(record)
    for size, ends in drawn:
        child.batch(size, runs=True, ends=ends)
        if not ends:
            break  # it died in this one
    died = data.draw(st.integers(0, len(child.steps)))
    said = data.draw(st.integers(0, died))
    journal = Journal(child_file(folder, record.life.pid, record.id), "s", os.getpid())
    for _, note in child.steps[:died]:
        note(journal)
    heard(site, record, child.steps[:said], data.draw(st.sets(st.integers(0, len(child.steps)))) or {-1})
    if any(isinstance(report, m.Idle) for report, _ in child.steps[said:died]):
        return  # an order is never over before that was said
    site.departures.hear_unsaid(record, site.heard, 6.0)

    _, twin, twin_record = working_site(tmp_path_factory.mktemp("claims"))
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


def test_a_journal_that_could_not_be_written_takes_nothing_back_that_was_said(world):
    master, site, record = world
    journal = Journal(child_file(master.claims, record.life.pid, record.id), "s", os.getpid())
    journal.claiming(INFO, 3.0)
    site.heard(record, m.Claiming("q", 3.0), 3.1)  # the disk is full then: the answer was said at once
    site.heard(record, m.Claimed(f"{record.id}.1", "q", [[None, None, ["7"]]], 3.1, 0.1), 3.1)
    site.departures.hear_unsaid(record, site.heard, 6.0)
    assert known(site, record) == ({"7": True}, None)


def test_lines_that_nobody_can_read_and_a_torn_one_are_passed_over(world):
    master, site, record = world
    path = child_file(master.claims, record.life.pid, record.id)
    journal = Journal(path, "s", os.getpid())
    journal.claiming(INFO, 3.0)
    with path.open("ab") as stream:
        stream.write(b"garbage\n[]\n3\n")
    journal.claimed(f"{record.id}.1", [Item("7", SYSTEM)], Lease(3.1, 0.1), begun=["7"])
    with path.open("ab") as stream:
        stream.write(b'["took","x')
    site.departures.hear_unsaid(record, site.heard, 6.0)
    assert known(site, record) == ({"7": True}, None)


def test_what_was_claimed_unheard_is_settled_when_its_worker_is_gone(world):
    master, site, record = world
    journal = Journal(child_file(master.claims, record.life.pid, record.id), "s", os.getpid())
    journal.claiming(INFO, 3.0)
    journal.claimed(
        f"{record.id}.1", [Item("7", SYSTEM), Item("8", SYSTEM)], Lease(3.1, 0.1), begun=["7", "8"]
    )
    site.ended(record, ExitStatus(signal=9), 4.0)
    site.decide(4.1)
    (order,) = [order for _, order in master.sent if isinstance(order, m.Settle)]
    assert (order.part.sent, order.part.unsent) == (["7", "8"], [])


# --- a daemon that was killed ---


@pytest.fixture
def path(tmp_path):
    return child_file(tmp_path, os.getpid(), 7)


@pytest.fixture
def journal(path):
    return Journal(path, "s", os.getpid())


def test_an_intent_without_an_answer_is_a_lost_claim(journal, path):
    journal.claiming(QUEUE, 5.0)
    ((), (lost,)) = map(tuple, reopened(path))
    assert (lost.queue, lost.since, lost.until) == (QUEUE, 5.0, 45.0)
    assert lost.recovered


def test_what_was_taken_is_settled_by_what_was_begun(journal, path):
    journal.claiming(QUEUE, 4.5)
    journal.claimed("7.1", ITEMS, LEASE, begun=["1", "3"])
    ((entry,), lost) = reopened(path)
    assert (entry.part.sent, entry.part.unsent, entry.claim.leases) == (["1", "3"], ["2"], [LEASE])
    assert [entry.claim.entries[each].item for each in IDS] == ITEMS
    assert not lost


def test_what_ended_is_not_settled_and_what_was_not_sent_was_not_begun(journal, path):
    journal.claiming(QUEUE, 4.5)
    journal.claimed("7.1", ITEMS, LEASE, begun=IDS)
    journal.not_begun("7.1", ["3"])
    journal.ended("7.1", ["1"])
    journal.flush()
    ((entry,), _) = reopened(path)
    assert (entry.part.sent, entry.part.unsent) == (["2"], ["3"])


def test_nothing_taken_nothing_open(journal, path):
    journal.claiming(QUEUE, 4.5)
    journal.gave_nothing()
    journal.flush()
    assert reopened(path) == ([], [])


def test_an_item_that_two_children_name_is_settled_once_and_begun_if_either_says_so(tmp_path, journal, path):
    journal.claiming(QUEUE, 4.5)
    journal.claimed("7.1", ITEMS, LEASE, begun=["1"])
    other = child_file(tmp_path, os.getpid(), 8)
    second = Journal(other, "s", os.getpid())
    second.handed("7.1", QUEUE, [ITEMS[1]], [LEASE])
    second.run_sent("7.1", ["2"])
    ((entry,), _) = reopened(other, path)
    assert (entry.part.sent, entry.part.unsent) == (["1", "2"], ["3"])


@pytest.mark.parametrize("remote", [True, False])
def test_what_a_remote_pipe_had_begun_may_still_run(path, remote):
    journal = Journal(path, "s", os.getpid(), remote=remote)
    journal.claiming(QUEUE, 4.5)
    journal.claimed("7.1", ITEMS, LEASE, begun=["1"])
    ((entry,), _) = reopened(path)
    assert entry.part.out_of_sight is remote
