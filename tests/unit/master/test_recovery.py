"""What a daemon that was killed had open, the journals of its children know."""

import os
import time

import pytest
from support.claim_files import IDS, ITEMS, LEASE, QUEUE, reopened
from support.fake_master import FakeMaster
from support.records import site_settings

from coworker.claims import reading
from coworker.claims.beginnings import NOTES
from coworker.claims.journal import Journal, child_file
from coworker.master.pipe_groups import PipeGroup
from coworker.master.recovery import recover
from coworker.master.site import Site
from coworker.unix.proc import Process, pid_namespace


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


@pytest.mark.parametrize("unseen", [True, False])
@pytest.mark.parametrize("noted", [True, False])
def test_what_was_sent_is_watched_where_nobody_can_tell_whose_a_process_is(
    tmp_path, path, monkeypatch, unseen, noted
):
    monkeypatch.setattr(PipeGroup, "look", lambda _group, _now: unseen)
    monkeypatch.setattr(reading, "this_process", lambda: Process(1, 1))
    master = FakeMaster(tmp_path)
    journal = Journal(path, "s", os.getpid())
    journal.claiming(QUEUE, 4.5)
    journal.claimed("7.1", ITEMS, LEASE, begun=["1", "2"])
    if noted:
        path.with_suffix(NOTES).write_text("opened 1\nsent 7.1\nbegun 1 2\n")
    site = Site(site_settings(), master)
    recover(tmp_path, {"s": site.recovery}, ["s"], master.log)
    site.decide(time.monotonic() + 1.0)
    parts = [entry.part for entry in site.dispatch.settler.settlements.of_claims()]
    assert sorted(each for part in parts for each in part.ids) == IDS
    (sent,) = [part for part in parts if part.sent]
    assert (sent.sent, sent.out_of_sight) == (["1", "2"], unseen)
    assert sent.begun == (["1"] if noted else None)


@pytest.mark.parametrize("in_hand", [True, False])
def test_a_pipe_of_another_container_is_named_if_it_had_something_in_hand(tmp_path, path, in_hand):
    journal = Journal(path, "s", os.getpid())
    if in_hand:
        journal.claiming(QUEUE, 4.5)
        journal.claimed("7.1", ITEMS, LEASE, begun=["1"])
    path.write_text(path.read_text().replace(pid_namespace(), "pid:[1]"))
    master = FakeMaster(tmp_path)
    site = Site(site_settings(), master)
    recover(tmp_path, {"s": site.recovery}, ["s"], master.log)
    site.decide(time.monotonic() + 1.0)
    assert master.logged.count("process_spared") == in_hand
    parts = [entry.part for entry in site.dispatch.settler.settlements.of_claims()]
    assert [part.out_of_sight for part in parts] == [True] * in_hand


@pytest.mark.parametrize("remote", [True, False])
def test_what_a_remote_pipe_had_begun_may_still_run(path, remote):
    journal = Journal(path, "s", os.getpid(), remote=remote)
    journal.claiming(QUEUE, 4.5)
    journal.claimed("7.1", ITEMS, LEASE, begun=["1"])
    ((entry,), _) = reopened(path)
    assert entry.part.out_of_sight is remote
