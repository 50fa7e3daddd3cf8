"""What only the master knows of open claims outlives it."""

import os

import pytest
from support.claim_files import ITEMS, LEASE, QUEUE, empty_checkpoint, nobody, reopened

from coworker.claims import reading
from coworker.claims.journal import Journal, child_file
from coworker.master.ledger import Place
from coworker.master.recovery import CAUSE, OldClaims
from coworker.model import Lease, Unsettled


@pytest.fixture
def path(tmp_path):
    return child_file(tmp_path, os.getpid(), 7)


@pytest.fixture
def checkpoint(tmp_path):
    return empty_checkpoint(tmp_path)


def test_what_only_the_master_knows_survives(checkpoint):
    ledger, settler, book, path = checkpoint
    claim = ledger.open("7.1", QUEUE, 7, ITEMS, ["1"], [LEASE])
    ledger.hand_off("7.1", ["2"], 7)
    part = Unsettled(["1"], [], "SIGKILL", stopped_by_us=True, delay=60)
    settler.settle(claim, Place.AT_WORKER, part)
    settler.lose(QUEUE, 3.0, 4.0, "died")
    settler.crash_counts.count("q", "9")
    settler.save(book)
    settlements, (lost,) = reopened(path)
    assert [(*e.part[:2], e.part.stopped_by_us, e.part.delay, e.cause) for e in settlements] == [
        (["1"], [], True, 60, "SIGKILL"),
        ([], ["2"], False, 0, CAUSE),
    ]
    assert (lost.queue, lost.since, lost.until, lost.cause) == (QUEUE, 3.0, 4.0, "died")
    assert OldClaims([reading.read(path, nobody)]).crash_counts.would_be("q", ["8", "9"], 2) == ["9"]


def test_its_file_is_gone_when_there_is_nothing_to_keep(checkpoint):
    ledger, settler, book, path = checkpoint
    ledger.open("7.1", QUEUE, 7, ITEMS[:1], (), [LEASE])
    ledger.hand_off("7.1", ["1"], 7)
    settler.save(book)
    assert path.exists()
    ledger.settle("7.1", ["1"], Place.HANDED)
    ledger.settled("7.1", ["1"])
    settler.save(book)
    assert not path.exists()


def test_a_renewed_lease_is_that_of_the_childs_claim_and_one_that_was_asked_for_may_have_begun(
    checkpoint, path, monkeypatch
):
    ledger, settler, book, site = checkpoint
    monkeypatch.setattr(os, "getppid", os.getpid)  # the same master made both
    journal = Journal(path, "s", os.getpid())
    journal.claiming(QUEUE, 4.5)
    journal.claimed("7.1", ITEMS, LEASE, begun=["1"])
    claim = ledger.open("7.1", QUEUE, 7, ITEMS, ["1"], [LEASE])
    ledger.renew(claim, 50.0)
    ledger.renewed(claim, Lease(51.0, 0.5), certain=True)
    ledger.renew(claim, 90.0)
    settler.save(book)
    ((entry,), _) = reopened(path, site)
    first, second, third = entry.claim.leases
    assert (first, second) == (LEASE, Lease(51.0, 0.5))
    assert third.at - third.seconds == pytest.approx(90.0)
