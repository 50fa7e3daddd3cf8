"""What a child notes of its claims: enough, whenever it is killed, and never more than it has to."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.claim_files import IDS, ITEMS, LEASE, QUEUE, reopened

from coworker.claims.journal import CUT, Journal
from coworker.model import Item


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


def test_what_could_not_be_written_is_to_be_said_otherwise_until_it_is(journal, monkeypatch):
    journal.claiming(QUEUE, 4.5)
    assert not journal.behind
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda _fd, _data: (_ for _ in ()).throw(OSError(28, "full")))
        journal.claimed("7.1", ITEMS, LEASE, begun=[])
        assert journal.behind
    journal.run_sent("7.1", ["1"])
    assert not journal.behind


def test_what_is_no_news_waits_for_the_next_line_and_is_written_when_none_comes(journal, path):
    journal.claiming(QUEUE, 4.5)
    before = path.stat().st_size
    journal.gave_nothing()
    assert path.stat().st_size == before
    journal.flush()
    size = path.stat().st_size
    assert size > before
    journal.flush()
    assert path.stat().st_size == size


def test_it_is_not_cut_back_while_anything_is_open(journal, path):
    journal.claiming(QUEUE, 4.5)
    journal.claimed("7.1", [Item("x")], LEASE, begun=[])
    while path.stat().st_size < 2 * CUT:
        journal.claiming(QUEUE, 4.5)
        journal.gave_nothing()
    ((entry,), _) = reopened(path)
    assert entry.ids == ["x"]


def test_what_another_has_claimed_is_open_where_it_is_to_be_run(journal, path):
    journal.handed("3.1", QUEUE, ITEMS[:2], [LEASE])
    journal.run_sent("3.1", ["1"])
    ((entry,), _) = reopened(path)
    assert (entry.part.sent, entry.part.unsent) == (["1"], ["2"])


def test_nobody_else_reads_it(path, journal):
    assert path.stat().st_mode & 0o777 == 0o600
