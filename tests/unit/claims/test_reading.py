"""What the files of a killed daemon say: every line counts, whatever they look like."""

import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.claim_files import ITEMS, LEASE, QUEUE, empty_checkpoint, nobody, reopened
from support.fake_master import FakeLog

from coworker.claims import reading
from coworker.claims.checkpoint import Checkpoint, Snapshot
from coworker.claims.journal import Journal
from coworker.claims.reading import Remains
from coworker.master.ledger import Place
from coworker.master.recovery import OldClaims
from coworker.model import Unsettled
from coworker.unix import proc

TOKEN = "0123456789abcdef" * 2


@pytest.fixture
def checkpoint(tmp_path):
    return empty_checkpoint(tmp_path)


def test_times_of_another_boot_are_shifted_by_the_wall_clock(journal, path):
    journal.claiming(QUEUE, 4.5)
    journal.claimed("7.1", ITEMS, LEASE, begun=[])
    lines = path.read_text().splitlines()
    head, claiming = json.loads(lines[0]), json.loads(lines[1])
    head[2]["boot"] = "another"
    claiming[3] = claiming[3] - 100.0  # made that much earlier by the wall clock
    path.write_text("\n".join([json.dumps(head), json.dumps(claiming), *lines[2:], ""]))
    ((entry,), _) = reopened(path)
    age_then = claiming[3] - 4.5
    assert entry.claim.leases[0].at == pytest.approx(
        5.0 + age_then - (time.time() - time.monotonic()), abs=0.1
    )


@given(st.binary(max_size=200))
def test_garbage_is_named_and_never_fatal(tmp_path_factory, garbage):
    path = tmp_path_factory.mktemp("journal") / "1-1.claims"
    Journal(path, "s", os.getpid())
    with path.open("ab") as stream:
        stream.write(garbage + b"\n")
    log = FakeLog()
    OldClaims([reading.read(path, log)])
    assert set(log.logged) <= {"journal_damaged"}
    assert len(log.logged) >= bool(garbage)


def test_files_of_this_very_daemon_are_nobodys_remains(tmp_path, journal, path, monkeypatch):
    lines = path.read_text().splitlines()
    head = json.loads(lines[0])
    (found,) = reading.scan(tmp_path, nobody)
    assert (found.path, found.site, found.child) == (path, "s", proc.this_process())
    head[2]["master"] = list(proc.this_process())
    path.write_text(json.dumps(head) + "\n")
    assert reading.scan(tmp_path, nobody) == []


@pytest.mark.parametrize(
    ("pids", "elsewhere"), [({}, False), ({"pids": "pid:[1]"}, True)], ids=["older", "another"]
)
def test_pids_of_another_namespace_say_nothing_and_a_token_still_does(tmp_path, path, pids, elsewhere):
    Journal(path, "s", os.getpid(), token=TOKEN)
    mark, version, head = json.loads(path.read_text())
    assert head.pop("pids") == proc.pid_namespace()
    path.write_text(json.dumps([mark, version, {**head, **pids}]) + "\n")
    (found,) = reading.scan(tmp_path, nobody)
    who = None if elsewhere else proc.this_process()
    assert (found.child, found.pipe, found.token) == (who, who, TOKEN)
    assert (found.elsewhere, found.remote, found.in_hand) == (elsewhere, False, False)


def test_after_another_boot_of_the_machine_nothing_runs(tmp_path, path):
    Journal(path, "s", os.getpid(), token=TOKEN)
    mark, version, head = json.loads(path.read_text())
    path.write_text(json.dumps([mark, version, {**head, "boot": "another", "pids": "pid:[1]"}]) + "\n")
    assert reading.scan(tmp_path, nobody) == [Remains(path, "s")]


def test_a_journal_of_the_version_before_has_no_token(tmp_path, path):
    Journal(path, "s", os.getpid(), token=TOKEN)
    mark, version, head = json.loads(path.read_text())
    del head["token"]
    path.write_text(json.dumps([mark, version, head]) + "\n")
    (found,) = reading.scan(tmp_path, nobody)
    assert (found.token, found.pipe) == ("", proc.this_process())


def test_a_child_has_something_in_hand_from_its_claim_until_the_last_of_it_has_ended(tmp_path, journal):
    def in_hand():
        (found,) = reading.scan(tmp_path, nobody)
        return found.in_hand

    said = []
    for line in (
        lambda: journal.claiming(QUEUE, 4.5),
        lambda: journal.claimed("7.1", ITEMS, LEASE, begun=["1"]),
        lambda: (journal.ended("7.1", ["1", "2"]), journal.flush()),
        lambda: (journal.ended("7.1", ["3"]), journal.flush()),
        lambda: journal.handed("8.1", QUEUE, ITEMS[:1], [LEASE]),
        journal.next_order,
        lambda: journal.claiming(QUEUE, 5.5),
        lambda: (journal.gave_nothing(), journal.flush()),
    ):
        line()
        said.append(in_hand())
    assert said == [True, True, True, False, True, False, True, False]


def test_a_journal_whose_first_line_is_torn_claimed_nothing_and_goes(tmp_path, path):
    path.write_bytes(b'["coworker cla')
    assert reading.scan(tmp_path, nobody) == []
    assert not path.exists()


def test_a_file_of_an_unknown_version_is_set_aside_and_named(path):
    path.write_text(json.dumps(["coworker claims", 99, {}]) + "\n")
    log = FakeLog()
    assert reading.read(path, log) is None
    assert log.logged == ["journal_set_aside"]
    assert path.with_suffix(".set-aside").exists()


def test_the_files_of_the_version_before_are_read(checkpoint):
    ledger, settler, book, path = checkpoint
    claim = ledger.open("7.1", QUEUE, 7, ITEMS[:1], ["1"], [LEASE])
    settler.settle(claim, Place.AT_WORKER, Unsettled(["1"], [], "SIGTERM", stopped_by_us=True, delay=60))
    settler.save(book)
    mark, _, head = json.loads(path.read_text())
    old = {"sent": [1], "unsent": [], "ours": 1, "delay": "60", "blameless": 0, "out_of_sight": True}
    head["settling"] = [{"claim": "7.1", "cause": "SIGTERM", **old}]
    path.write_text(json.dumps([mark, 2, head]))
    ((entry,), _) = reopened(path)
    assert entry.part == Unsettled(["1"], [], "SIGTERM", stopped_by_us=True, out_of_sight=True, delay=60)


def test_the_file_of_a_former_master_is_not_overwritten_before_it_is_read(tmp_path, checkpoint, monkeypatch):
    _ledger, settler, book, path = checkpoint
    settler.lose(QUEUE, 3.0, 4.0, "died")
    settler.save(book)
    half = path.with_suffix(".new")
    half.touch()
    monkeypatch.setattr(reading, "this_process", lambda: proc.Process(1, 1))
    (found,) = reading.scan(tmp_path, nobody)
    away = reading.put_away(found)
    assert not half.exists()
    ours = Checkpoint(tmp_path, "s", nobody)
    ours.save(Snapshot([], [], [], [], {}))  # ours is empty: there is to be no file of that name
    assert reading.scan(tmp_path, nobody) == [away]
    assert len(reopened(away.path)[1]) == 1
