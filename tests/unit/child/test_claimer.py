"""A claim is noted and said before it is asked for, and whatever comes of it, nothing is forgotten."""

import os
from types import SimpleNamespace

import pytest
from support.claim_files import nobody

from coworker.child.claimer import Claimer, DatabaseLostError
from coworker.claims import reading
from coworker.claims.beginnings import Beginnings, Notes, TaskNotes, beginnings_file
from coworker.claims.journal import Journal, child_file
from coworker.errors import CallError, EmptyAnswerError, PipeGoneError, PipeTimeoutError, ProtocolError
from coworker.ipc import messages as m
from coworker.model import Identity, Item, Lease, QueueInfo

QUEUE = QueueInfo("q", batch_limit=2)
ITEMS = [Item("7"), Item("8", Identity(100, None))]


class World:
    """A claimer, whose site answers with `answer`, or raises it; it is its own link and client."""

    def __init__(self, folder, run_as_in_data=False):
        self.path = child_file(folder, os.getpid(), 3)
        self.pipe = SimpleNamespace(request_sent=True)
        self.said, self.calls, self.answer = [], [], []
        journal = Journal(self.path, "s", os.getpid())
        self.notes = Notes(beginnings_file(folder, os.getpid(), 3))
        TaskNotes(str(self.notes.path))
        self.notes.opened()
        self.claimer = Claimer(3, self, self, 9.0, journal, self.notes, run_as_in_data)

    def post(self, report):
        self.said.append(report)

    def api4(self, entity, action, params, *, timeout=None):
        self.calls.append((params, timeout, list(self.said), self.noted()))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def claim(self):
        return self.claimer.claim(QUEUE, 5.0)

    def noted(self):
        """The names of what its journal says."""
        return [type(each).__name__ for each in reading.read_child(self.path, nobody)]

    @property
    def is_open(self):
        """Whether the journal says that a claim was sent and not answered, once all is written."""
        self.claimer.journal.flush()
        return self.noted() == ["ClaimSent"]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_it_is_noted_and_said_before_it_is_asked_for(world):
    world.claim()
    ((params, timeout, said, noted),) = world.calls
    assert (params["queue"], timeout) == ("q", 9.0)
    assert said == [m.Claiming("q", 5.0)]
    assert noted == ["ClaimSent"]


def test_what_cannot_be_noted_is_not_asked_for(world, monkeypatch):
    monkeypatch.setattr(os, "write", lambda _fd, _data: (_ for _ in ()).throw(OSError(28, "No space left")))
    assert world.claim() is None
    assert world.calls == []
    (report,) = world.said
    assert isinstance(report, m.ClaimFailed)
    assert "No space left" in report.message


def test_what_begins_at_once_is_in_the_notes_before_the_journal_says_so(world, monkeypatch):
    world.answer = [{"id": 7, "run_as": None}]
    items = world.claim()
    known = []

    def noted(name, *_, **__):
        known.append(Beginnings(world.notes.path).begun(name))

    monkeypatch.setattr(world.claimer.journal, "claimed", noted)
    world.claimer.claimed("q", items, 5.0, ["7"])
    world.claimer.claimed("q", items, 5.0, [])
    assert known == [[], None]


def test_each_claim_has_a_name_of_its_own_and_is_told_with_its_lease(world):
    world.answer = [{"id": 7, "run_as": None}, {"id": "8", "run_as": {"contactId": "100"}}]
    assert world.claim() == ITEMS
    assert world.claimer.claimed("q", ITEMS, 5.0, ["7"]) == "3.1"
    assert world.noted() == ["ClaimSent", "ClaimAnswered"]
    report = world.said[-1]
    assert (report.claim, report.items) == ("3.1", [[None, None, ["7"]], [100, None, ["8"]]])
    assert report.at - report.seconds == pytest.approx(5.0)
    _, noted = reading.read_child(world.path, nobody)
    assert (noted.claim, noted.items, noted.begun) == ("3.1", ITEMS, ["7"])
    assert noted.lease == Lease(report.at, report.seconds, report.release)
    world.claim()
    assert world.claimer.claimed("q", ITEMS, 5.0, []) == "3.2"


def test_before_5_56_run_as_is_in_the_data(tmp_path):
    world = World(tmp_path, run_as_in_data=True)
    world.answer = [{"id": 7, "data": None}, {"id": 8, "data": {"runAs": {"contactId": 100}}}]
    assert world.claim() == ITEMS


def test_an_empty_queue_is_an_answer(world):
    assert world.claim() == []
    assert not world.is_open


def test_a_refusal_is_the_queues_own_trouble_and_claimed_nothing(world):
    world.answer = CallError("Queue q is paused")
    assert world.claim() is None
    assert world.said == [m.Claiming("q", 5.0), m.ClaimFailed("q", "Queue q is paused")]
    assert not world.is_open


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (CallError("DB Error: no database selected"), DatabaseLostError),
        (EmptyAnswerError(), ProtocolError),
        (PipeGoneError(), PipeGoneError),
        (PipeTimeoutError(), PipeTimeoutError),
    ],
)
def test_where_it_may_have_claimed_all_the_same_the_pipe_goes_and_the_claim_stays_open(world, error, raised):
    world.answer = error
    with pytest.raises(raised):
        world.claim()
    assert world.said == [m.Claiming("q", 5.0)]
    assert world.is_open


def test_an_answer_that_names_no_items_leaves_the_claim_open(world):
    world.answer = [{"name": "what is this?"}]
    with pytest.raises(ProtocolError):
        world.claim()
    assert world.is_open


def test_where_not_a_byte_was_sent_nothing_was_claimed(world):
    world.answer, world.pipe.request_sent = PipeGoneError(), False
    with pytest.raises(PipeGoneError):
        world.claim()
    assert world.said == [m.Claiming("q", 5.0), m.NotClaimed("q")]
    assert not world.is_open
