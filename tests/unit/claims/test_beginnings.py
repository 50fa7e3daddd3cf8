"""What a pipe notes of the tasks that it begins, as it is written and read."""

import os
import resource
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coworker.claims import beginnings
from coworker.claims.beginnings import (
    Beginnings,
    Notes,
    TaskNotes,
    beginnings_file,
    read_lines,
    read_seconds,
)


@pytest.fixture
def path(tmp_path):
    return beginnings_file(tmp_path, 17, 3)


def opened(path):
    """Both sides of a file: the worker's and its pipe's."""
    notes = Notes(path)
    pipe = TaskNotes(str(path))
    notes.opened()
    assert notes.usable
    return notes, pipe


def test_it_tells_what_of_a_claim_was_begun_and_what_is_over(path):
    notes, pipe = opened(path)
    before = time.monotonic()
    notes.sent("3.1")
    pipe.ended(7, pipe.begun(7))
    notes.sent("3.2")
    pipe.ended(8, pipe.begun(8))
    pipe.begun(9)
    said = Beginnings(path)
    assert said.begun("3.1") == ["7"]
    over, running = said.of("3.2")
    assert (over.id, running.id, running.seconds) == ("8", "9", None)
    assert before <= over.at <= over.moved_at <= running.at <= time.monotonic()
    assert said.begun("3.3") is None


def test_an_item_that_comes_again_counts_for_each_claim_by_itself(path):
    notes, pipe = opened(path)
    notes.sent("3.1")
    pipe.begun(7)
    notes.sent("3.2")
    assert Beginnings(path).begun("3.2") == []
    assert read_lines(notes.batch(ran=False)) == []


def test_the_worker_reads_what_came_since_it_sent(path):
    notes, pipe = opened(path)
    for number in range(50):
        notes.sent(f"3.{number}")
        pipe.ended(number, pipe.begun(number))
        lines = notes.batch(ran=True)
        (found,) = read_lines(lines)
        assert found.id == str(number)
        assert read_seconds(lines) == {found.id: found.seconds}


def test_a_claim_that_is_sent_in_parts_is_one(path):
    notes, pipe = opened(path)
    for item in (7, 8):
        notes.sent("3.1")
        pipe.begun(item)
    assert Beginnings(path).begun("3.1") == ["7", "8"]


def test_what_is_over_is_dropped(path):
    notes, pipe = opened(path)
    for number in range(2000):
        notes.sent(f"3.{number}")
        pipe.ended(number, pipe.begun(number))
        notes.batch(ran=True)
        assert path.stat().st_size < beginnings.CUT + 200
    assert Beginnings(path).begun("3.1999") == ["1999"]


@pytest.mark.parametrize(
    "first", ["", "begun 7 1.0\n", "opened\n", "opened x\n", "opened 1.0\n", "opened 1e30\n"]
)
def test_a_file_that_was_not_opened_by_a_pipe_of_this_machine_says_nothing(path, first):
    notes = Notes(path)
    path.write_text(first)
    notes.opened()
    notes.sent("3.1")
    with path.open("a") as stream:
        stream.write("begun 7 1.0\n")
    assert not notes.usable
    assert notes.batch(ran=True) is None
    assert Beginnings(path).begun("3.1") is None


def test_without_a_file_nothing_is_said(path):
    notes = Notes(None)
    notes.opened()
    notes.sent("3.1")
    assert notes.batch(ran=True) is None
    assert Beginnings(path).begun("3.1") is None
    assert Notes(path / "not" / "there").path is None


def test_a_pipe_that_ran_something_and_noted_nothing_is_not_trusted_any_more(path):
    notes, _ = opened(path)
    notes.sent("3.1")
    assert notes.batch(ran=True) is None
    notes.sent("3.2")
    assert Beginnings(path).begun("3.2") is None


@pytest.mark.parametrize("left", [0, 1, 20, 30])
def test_a_file_that_was_shortened_says_nothing_of_what_is_gone(path, left):
    notes, pipe = opened(path)
    for number in range(3):
        notes.sent(f"3.{number}")
        pipe.begun(number)
    os.truncate(path, left)
    assert Beginnings(path).begun("3.2") is None


def test_a_torn_last_line_is_no_beginning(path):
    notes, pipe = opened(path)
    notes.sent("3.1")
    pipe.begun(7)
    with path.open("a") as stream:
        stream.write("begun 8 12")
    assert Beginnings(path).begun("3.1") == ["7"]


@pytest.fixture
def full_disk(path):
    """A function after which nothing more fits into the file but so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(left):
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + left, limits[1]))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("left", [0, 1, 9, 15])
def test_a_beginning_that_cannot_be_noted_whole_is_an_error_for_good(path, full_disk, left):
    notes, pipe = opened(path)
    notes.sent("3.1")
    full_disk(left)
    with pytest.raises(OSError, match=r"No space|too large"):
        pipe.begun(7)
    full_disk(1000)
    if left:  # half a line is there: what followed it would be misread
        with pytest.raises(OSError, match="No space"):
            pipe.begun(8)
    assert Beginnings(path).begun("3.1") == []


@pytest.mark.parametrize("left", [1, 6])
def test_a_torn_end_of_a_task_lets_no_other_begin(path, full_disk, left):
    notes, pipe = opened(path)
    notes.sent("3.1")
    at = pipe.begun(7)
    full_disk(left)
    pipe.ended(7, at)
    full_disk(1000)
    with pytest.raises(OSError, match="No space"):
        pipe.begun(8)


@pytest.mark.parametrize("left", [0, 1, 7])
def test_a_claim_that_cannot_be_named_is_not_known_and_nothing_after_it(path, full_disk, left):
    notes, pipe = opened(path)
    full_disk(left)
    notes.sent("3.1")
    full_disk(1000)
    pipe.begun(7)
    notes.sent("3.2")
    pipe.begun(8)
    assert notes.batch(ran=True) is None
    assert [Beginnings(path).begun(claim) for claim in ("3.1", "3.2")] == [None, None]


@given(st.binary(max_size=200), st.integers(0, 200))
def test_whatever_lies_there_it_is_read(tmp_path_factory, junk, cut):
    path = beginnings_file(tmp_path_factory.mktemp("b"), 1, 1)
    path.write_bytes((b"opened 1.0\nsent 3.1\nbegun 7 2.0\n" + junk)[:cut])
    found = Beginnings(path).begun("3.1")
    assert found is None or all(isinstance(each, str) for each in found)
    assert found is None or found[:1] in ([], ["7"])
