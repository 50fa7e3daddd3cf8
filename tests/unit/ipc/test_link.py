"""A child says things in passing, in a hurry, and when it is asked."""

from math import inf

import pytest

from coworker.ipc import messages as m
from coworker.ipc.link import PASSING, ChildLink


class FakeChannel:
    """Keeps each write."""

    def __init__(self):
        self.writes, self.closed, self.broken, self.pending, self.incoming = [], False, False, False, b""

    def send(self, data):
        self.writes.append(data)

    def receive(self):
        data, self.incoming = self.incoming, b""
        return data


@pytest.fixture
def link():
    return ChildLink(FakeChannel())


def test_reports_wait_for_each_other_and_leave_in_one_write(link, monkeypatch):
    now = 100.0
    monkeypatch.setattr("coworker.ipc.link.time.monotonic", lambda: now)
    link.post(m.Claiming("q", 1.0))
    now += PASSING / 2
    link.post(m.Claiming("q", 2.0))
    assert link.tend(now) == 100.0 + PASSING
    assert link.channel.writes == []
    now = 100.0 + PASSING
    link.tend(now)
    (data,) = link.channel.writes
    assert data.count(b"\n") == 2
    link.tend(now + 100.0)
    assert len(link.channel.writes) == 1


def test_what_is_in_a_hurry_leaves_at_the_next_wait(link):
    link.hurry()
    link.post(m.Claiming("q", 1.0))
    link.tend(0.0)
    assert len(link.channel.writes) == 1


def test_haste_without_anything_to_say_is_over_at_once(link):
    link.hurry()
    assert link.tend(1.0) == inf
    assert link.channel.writes == []


def test_asked_for_it_the_child_says_all_at_once_even_in_the_midst_of_a_call(link):
    link.post(m.Claiming("q", 1.0))
    link.channel.incoming = m.encode(m.Flush())
    link.on_readable()
    assert b"".join(link.channel.writes).splitlines() == [
        m.encode(m.Claiming("q", 1.0))[:-1],
        m.encode(m.Flushed())[:-1],
    ]
    assert not link.inbox


def test_last_words_are_tried_whoever_listens(link):
    link.post(m.Claiming("q", 1.0))
    link.channel.broken = True
    link.say_what_is_left()
    assert len(link.channel.writes) == 1
