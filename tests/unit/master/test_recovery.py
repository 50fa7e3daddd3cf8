"""What a daemon that was killed had open, the journals of its children know."""

import os

import pytest
from support.claim_files import IDS, ITEMS, LEASE, QUEUE, reopened

from coworker.claims.journal import Journal, child_file


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
