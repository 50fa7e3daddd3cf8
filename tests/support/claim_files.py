"""The files of a killed daemon, and what they lead to in the next."""

import os

import pytest

from coworker.claims import reading
from coworker.claims.checkpoint import Checkpoint, site_file
from coworker.claims.journal import Journal, child_file
from coworker.master.dispatch import Dispatch
from coworker.master.recovery import OldClaims
from coworker.master.roster import Roster
from coworker.model import Identity, Item, Lease, QueueInfo
from support.fake_master import FakeLog
from support.records import site_settings

QUEUE = QueueInfo("q", batch_limit=5, retry_limit=1, retry_interval=7, error="delete")
ITEMS = [Item("1"), Item("2", Identity(100, 1)), Item("3", Identity(None, 2))]
IDS = ["1", "2", "3"]
LEASE = Lease(5.0, 0.5)


class Nobody(FakeLog):
    """Nothing is to be said."""

    def event(self, level, name, /, **fields):
        raise AssertionError(f"{name} {fields}")


nobody = Nobody()


@pytest.fixture
def path(tmp_path):
    """Where the journal of child 7 is."""
    return child_file(tmp_path, os.getpid(), 7)


@pytest.fixture
def journal(path):
    """The journal of child 7, a new one."""
    return Journal(path, "s", os.getpid())


def reopened(*paths, log=nobody, **more):
    """The settlements and lost claims that these files lead to."""
    dispatch = Dispatch(site_settings(), Roster(nobody), nobody, None)
    given = {"now": 1000.0, "patience": 40.0, **more}
    OldClaims([reading.read(path, log) for path in paths]).reopen(dispatch, **given)
    settlements = dispatch.settler.settlements
    return settlements.of_claims(), settlements.lost_claims()


def empty_checkpoint(folder):
    """A ledger and a settler with nothing in them, the checkpoint that they are saved in, and its path."""
    dispatch = Dispatch(site_settings(), Roster(nobody), nobody, None)
    book = Checkpoint(folder, "s", nobody)
    return dispatch.ledger, dispatch.settler, book, site_file(folder, "s")
