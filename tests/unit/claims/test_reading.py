"""What the files of a killed daemon say is open: every line counts, whatever the KILL cut off."""

import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_master import FakeLog
from support.records import site_settings

from coworker.claims import reading
from coworker.claims.checkpoint import Checkpoint, Snapshot, site_file
from coworker.claims.journal import CUT, Journal, child_file
from coworker.master.dispatch import Dispatch
from coworker.master.ledger import Place
from coworker.master.recovery import CAUSE, OldClaims
from coworker.model import Identity, Item, Lease, QueueInfo, Unsettled
from coworker.unix import proc

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
    return child_file(tmp_path, os.getpid(), 7)


@pytest.fixture
def journal(path):
    return Journal(path, "s", os.getpid())


def reopened(*paths, log=nobody, **more):
    """The settlements and lost claims that these files lead to."""
    dispatch = Dispatch(site_settings(), nobody, None)
    given = {"now": 1000.0, "patience": 40.0, **more}
    OldClaims([reading.read(path, log) for path in paths]).reopen(dispatch, **given)
    settlements = dispatch.settler.settlements
    return settlements.of_claims(), settlements.lost_claims()


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


def test_a_new_order_forgets_what_the_master_has_taken_over(journal, path):
    journal.claiming(QUEUE, 4.5)
    journal.claimed("7.1", ITEMS, LEASE, begun=[])
    journal.next_order()
    assert reopened(path) == ([], [])


def test_it_does_not_grow_while_nothing_is_open(journal, path):
    for number in range(1000):
        journal.claiming(QUEUE, 4.5)
        journal.claimed(f"7.{number}", ITEMS, LEASE, begun=IDS)
        journal.ended(f"7.{number}", IDS)
    assert path.stat().st_size < 2 * CUT


def test_a_claim_that_cannot_be_noted_must_not_be_made(journal, path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:10]))  # as a full disk does
    before = path.read_bytes()
    with pytest.raises(OSError, match="No space left"):
        journal.claiming(QUEUE, 4.5)
    monkeypatch.undo()
    assert path.read_bytes() == before
    journal.claiming(QUEUE, 4.5)
    assert len(reopened(path)[1]) == 1


def test_lines_that_could_not_be_written_come_with_the_next(journal, path, monkeypatch):
    journal.claiming(QUEUE, 4.5)
    monkeypatch.setattr(os, "write", lambda _fd, _data: (_ for _ in ()).throw(OSError(28, "full")))
    journal.claimed("7.1", ITEMS, LEASE, begun=["1"])
    monkeypatch.undo()
    journal.run_sent("7.1", ["2"])
    ((entry,), lost) = reopened(path)
    assert (entry.part.sent, entry.part.unsent) == (["1", "2"], ["3"])
    assert not lost


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


operations = st.lists(
    st.sampled_from(["claim", "nothing", "took", "began", "ended", "order", "flush"]), max_size=30
)


@given(operations, st.integers(0, 400))
def test_whatever_a_kill_cuts_off_no_claim_that_was_noted_is_forgotten(tmp_path_factory, made, cut):
    """A model of the file's truth: after each whole line, what is open is what the lines before say."""
    path = tmp_path_factory.mktemp("journal") / "1-1.claims"
    journal = Journal(path, "s", os.getpid())
    number, claiming, open_claims, truth = 0, False, set(), {}

    def note():
        # The line that counts comes first of those that are written together.
        content = path.read_bytes()
        ends = [at + 1 for at, byte in enumerate(content) if byte == 10 and at + 1 > max(truth, default=0)]
        truth.update(dict.fromkeys(ends, (claiming, frozenset(open_claims))))

    note()
    for operation in made:
        if operation == "claim" and not claiming:
            journal.claiming(QUEUE, 4.5)
            claiming = True
        elif operation == "nothing" and claiming:
            journal.gave_nothing()
            journal.flush()
            claiming = False
        elif operation == "took" and claiming:
            number += 1
            journal.claimed(f"1.{number}", [Item(str(number))], LEASE, begun=[])
            claiming = False
            open_claims.add(str(number))
        elif operation == "began" and open_claims:
            journal.run_sent(f"1.{max(map(int, open_claims))}", [max(open_claims, key=int)])
        elif operation == "ended" and open_claims:
            last = max(open_claims, key=int)
            journal.ended(f"1.{last}", [last])
            journal.flush()
            open_claims.discard(last)
        elif operation == "order" and not claiming:
            journal.next_order()
            open_claims.clear()
            truth.clear()
        else:
            continue
        note()
    size = path.stat().st_size
    kept = max(size - cut, min(truth))
    os.truncate(path, kept)
    claimed, wanted = truth[max(each for each in truth if each <= kept)]
    settlements, lost = reopened(path)
    assert {each for entry in settlements for each in entry.ids} == wanted
    assert len(lost) == claimed


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


# --- the file of the master ---


@pytest.fixture
def checkpoint(tmp_path):
    dispatch = Dispatch(site_settings(), nobody, None)
    book = Checkpoint(tmp_path, "s", nobody)
    return dispatch.ledger, dispatch.settler, book, site_file(tmp_path, "s")


def test_what_only_the_master_knows_survives(checkpoint):
    ledger, settler, book, path = checkpoint
    claim = ledger.open("7.1", QUEUE, 7, ITEMS, ["1"], [LEASE])
    ledger.hand("7.1", ["2"], 7)
    part = Unsettled(["1"], [], "SIGKILL", stopped_by_us=True, delay=60)
    settler.settle(claim, Place.HELD, part)
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
    ledger.hand("7.1", ["1"], 7)
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


def test_files_of_this_very_daemon_are_nobodys_remains(tmp_path, journal, path, monkeypatch):
    lines = path.read_text().splitlines()
    head = json.loads(lines[0])
    (found,) = reading.scan(tmp_path, nobody)
    assert (found.path, found.site, found.child) == (path, "s", proc.this_process())
    head[2]["master"] = list(proc.this_process())
    path.write_text(json.dumps(head) + "\n")
    assert reading.scan(tmp_path, nobody) == []


def test_a_journal_whose_first_line_is_torn_claimed_nothing_and_goes(tmp_path, path):
    path.write_bytes(b'["coworker cla')
    assert reading.scan(tmp_path, nobody) == []
    assert not path.exists()


def test_the_files_of_the_version_before_are_read(checkpoint):
    ledger, settler, book, path = checkpoint
    claim = ledger.open("7.1", QUEUE, 7, ITEMS[:1], ["1"], [LEASE])
    settler.settle(claim, Place.HELD, Unsettled(["1"], [], "SIGTERM", stopped_by_us=True, delay=60))
    settler.save(book)
    mark, _, head = json.loads(path.read_text())
    old = {"sent": [1], "unsent": [], "ours": 1, "delay": "60", "blameless": 0, "out_of_sight": True}
    head["settling"] = [{"claim": "7.1", "cause": "SIGTERM", **old}]
    path.write_text(json.dumps([mark, 2, head]))
    ((entry,), _) = reopened(path)
    assert entry.part == Unsettled(["1"], [], "SIGTERM", stopped_by_us=True, out_of_sight=True, delay=60)


def test_a_file_of_an_unknown_version_is_set_aside_and_named(path):
    path.write_text(json.dumps(["coworker claims", 99, {}]) + "\n")
    log = FakeLog()
    assert reading.read(path, log) is None
    assert log.logged == ["journal_set_aside"]
    assert path.with_suffix(".set-aside").exists()


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


@pytest.mark.parametrize("remote", [True, False])
def test_what_a_remote_pipe_had_begun_may_still_run(path, remote):
    journal = Journal(path, "s", os.getpid(), remote=remote)
    journal.claiming(QUEUE, 4.5)
    journal.claimed("7.1", ITEMS, LEASE, begun=["1"])
    ((entry,), _) = reopened(path)
    assert entry.part.out_of_sight is remote
