"""A file is input: any JSON at any place of it is set aside, or its line is named, and a start goes on."""

import copy
import json
import os
import time
from math import inf, nan

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.claim_files import ITEMS, LEASE, QUEUE, empty_checkpoint, reopened
from support.fake_master import FakeLog

from coworker.claims import checked, reading
from coworker.claims.journal import Journal, child_file
from coworker.ipc.messages import Search, Settle, decode, encode
from coworker.master.ledger import Place
from coworker.model import Lease, Unsettled
from coworker.unix.proc import Process

NAMED = {"journal_set_aside", "journal_damaged"}
DEEP = b"[" * 100_000
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from([2**70, -(2**70), 1e300, 10**400, inf, -inf, nan, "12", "\ud800", 0, -1, 0.5]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def journal_lines(folder):
    """Every kind of line that a child writes."""
    path = child_file(folder, os.getpid(), 7)
    journal = Journal(path, "s", os.getpid())
    journal.claiming(QUEUE, 4.5)
    journal.claimed("7.1", ITEMS, LEASE, begun=["1"])
    journal.handed("8.1", QUEUE, ITEMS[:1], [LEASE, Lease(6.0, 1.0)])
    journal.run_sent("7.1", ["2"])
    journal.not_begun("7.1", ["2"])
    journal.ended("7.1", ["1"])
    journal.gave_nothing()
    journal.claiming(QUEUE, 9.0)
    return path, path.read_bytes().splitlines()


def checkpoint_lines(folder):
    """A checkpoint that has an example of everything."""
    ledger, settler, book, path = empty_checkpoint(folder)
    claim = ledger.open("7.1", QUEUE, 7, ITEMS, ["1"], [LEASE])
    settler.settle(claim, Place.AT_WORKER, Unsettled(["1"], ["2"], "SIGTERM", begun=["1"], delay=60))
    ledger.renew(claim, 6.0)
    settler.lose(QUEUE, 3.0, 4.0, "died")
    settler.crash_counts.count("q", "1")
    settler.save(book)
    return path, path.read_bytes().splitlines()


def places(value, here=()):
    """The way to every value within this one."""
    yield here
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from places(inner, (*here, step))


def put(value, way, other):
    """The same with `other` at this place."""
    if not way:
        return other
    changed = copy.copy(value)
    changed[way[0]] = put(value[way[0]], way[1:], other)
    return changed


def start(path):
    """What a start does with this file. What it says of it, and the orders that control then gets."""
    log = FakeLog()
    for remains in reading.scan(path.parent, log):
        for process in (remains.child, remains.pipe):
            assert process is None or process.pid <= checked.MOST_PIDS
        claims, lost = reopened(remains.path, log=log) if path.exists() else ([], [])
        for order in (
            *(Settle(1, each.queue, each.claim.leases, each.part) for each in claims),
            *(Search(1, each.queue, each.since, each.until, [], False) for each in lost),
        ):
            assert decode(encode(order)) == order
    return log.logged


@pytest.mark.parametrize("lines_of", [journal_lines, checkpoint_lines])
@given(data=st.data(), other=ANY)
@example(data=None, other=None)
def test_any_json_at_any_place_stops_no_start(tmp_path_factory, lines_of, data, other):
    path, lines = lines_of(tmp_path_factory.mktemp("claims"))
    if data is None:
        assert start(path) == []
        return
    number = data.draw(st.integers(0, len(lines) - 1))
    value = json.loads(lines[number])
    way = data.draw(st.sampled_from(list(places(value))))
    lines[number] = json.dumps(put(value, way, other)).encode()
    path.write_bytes(b"\n".join([*lines, b""]))
    assert set(start(path)) <= NAMED


HEADS = [
    ("pipe", ["12", 5]), ("pipe", [None, 5]), ("pipe", [12.5, 5]), ("pipe", [2**70, 5]), ("pipe", [12, 5, 6]),
    ("pipe", [-12, 5]), ("pipe", [True, 5]), ("pipe", 12), ("pipe", None), ("child", [12, -5]),
    ("child", [12, "5"]), ("master", []), ("master", {"pid": 1}), ("site", None), ("site", ["s"]),
    ("site", "\ud800"), ("boot", 7), ("remote", 1), ("remote", "no"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), HEADS)
def test_a_head_with_a_broken_field_is_set_aside_and_the_field_is_named(tmp_path, name, value):
    path, (head, *lines) = journal_lines(tmp_path)
    mark, version, fields = json.loads(head)
    head = json.dumps([mark, version, {**fields, name: value}]).encode()
    path.write_bytes(b"\n".join([head, *lines, b""]))
    log = FakeLog()
    assert reading.scan(tmp_path, log) == []
    ((level, event, said),) = log.lines
    assert (level, event) == ("error", "journal_set_aside")
    assert said["reason"].startswith(f"{name}: ")
    assert path.with_suffix(".set-aside").exists()


def test_a_field_that_is_missing_is_named(tmp_path):
    path, (head, *_) = journal_lines(tmp_path)
    mark, version, fields = json.loads(head)
    del fields["pipe"]
    path.write_text(json.dumps([mark, version, fields]) + "\n")
    log = FakeLog()
    assert reading.scan(tmp_path, log) == []
    assert log.lines[0][2]["reason"] == "pipe is missing"


def test_brackets_nested_without_end_are_set_aside_and_in_a_line_named(tmp_path):
    path, lines = journal_lines(tmp_path)
    path.write_bytes(b"\n".join([*lines, DEEP, b""]))
    log = FakeLog()
    reopened(path, log=log)
    assert log.logged == ["journal_damaged"]
    path.write_bytes(DEEP + b"\n")
    assert reading.scan(tmp_path, log) == []
    assert log.logged[1:] == ["journal_set_aside"]


LINES = [
    ["claiming", ["q"], inf, 1.7e9], ["claiming", ["q"], 4.5, 1e300], ["claiming", ["q", 1], 4.5, 1.7e9],
    ["claiming", ["q", "Sql", 1, 2**70], 4.5, 1.7e9], ["handed", "8.1", ["q"], [], [], 1.7e9],
    ["handed", "8.1", ["q"], [[None, None, [1]]], [[1, 1]], 1.7e9], ["took", 7, [], [1, 1], []],
    ["began", "7.1", ["1", "1"]], ["began", ["7.1"], ["1"]], ["began", "7.1", "1"], [["began"], "7.1", []],
    ["ended", "7.1", [None]], {"took": 1}, "took", 5, None, [],
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_a_line_with_a_broken_field_is_named_and_the_rest_counts(tmp_path, line):
    path, lines = journal_lines(tmp_path)
    lines.insert(3, json.dumps(line).encode())
    path.write_bytes(b"\n".join([*lines, b""]))
    log = FakeLog()
    claims, lost = reopened(path, log=log)
    assert [(name, said["line"]) for _, name, said in log.lines] == [("journal_damaged", 4)]
    assert sorted(each for claim in claims for each in claim.ids) == ["1", "2", "3"]
    assert len(lost) == 1


def test_what_is_right_passes():
    assert checked.process([12, 345]) == Process(12, 345)
    assert checked.ids(["1", 2]) == ["1", "2"]
    assert checked.token("") == ""
    assert checked.token("0af" * 10 + "00") == "0af" * 10 + "00"
    assert checked.moment(time.time()) > 0
    assert checked.queue(list(QUEUE)) == QUEUE


@pytest.mark.parametrize("value", ["x" * 32, "ab", 5, "AB" * 16, "0" * 33])
def test_what_is_no_token_is_refused(value):
    with pytest.raises((ValueError, TypeError), match="is not a"):
        checked.token(value)
