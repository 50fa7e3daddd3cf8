"""What is left of a pipe is killed, and seen empty before anybody is told so."""

import itertools
import signal
from math import inf

import pytest
from support.fake_master import FakeLog

from coworker.master import pipe_groups
from coworker.master.pipe_groups import INTERVAL, PATIENCE, PipeGroup, PipeGroups
from coworker.unix.proc import Process


class World:
    """Groups that run until a test says otherwise; `looks` counts how often somebody looked."""

    def __init__(self, monkeypatch):
        self.running, self.killed, self.emptied, self.looks = set(), [], [], 0
        self.log, self.groups = FakeLog(), PipeGroups()
        monkeypatch.setattr(PipeGroup, "is_empty", property(self._is_empty))
        monkeypatch.setattr(PipeGroup, "kill", lambda group: self.killed.append(group.group))

    def _is_empty(self, group):
        self.looks += 1
        return group.group not in self.running

    def add(self, number, now):
        group = PipeGroup(number, now, lambda at: self.emptied.append((number, at)), self.log)
        self.groups.add(group, now)
        return group

    def look(self, *, give_up=False):
        """Tend them at the moment that they ask for. That moment."""
        now = self.groups.next_at
        self.groups.tend(now, give_up=give_up)
        return now


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def test_what_runs_is_killed_and_what_does_not_is_let_alone(world):
    world.running = {7}
    world.add(7, 1.0)
    world.add(8, 1.0)
    assert world.killed == [7]


def test_each_is_reported_empty_once_and_when_it_was_seen_so(world):
    world.running = {7}
    world.add(7, 1.0)
    world.add(8, 1.0)
    world.groups.tend(1.0, give_up=False)
    assert world.emptied == [(8, 1.0)]
    world.running.clear()
    now = world.look()
    assert world.emptied == [(8, 1.0), (7, now)]
    assert world.groups.next_at == inf
    world.groups.tend(now + 5.0, give_up=False)
    assert len(world.emptied) == 2


def test_looks_are_soon_at_first_and_ever_more_seldom(world):
    world.running = {7}
    world.add(7, 1.0)
    moments = [world.look() for _ in range(80)]
    pauses = [later - now for now, later in itertools.pairwise(moments)]
    assert pauses[0] == pytest.approx(INTERVAL)
    assert pauses == sorted(pauses)
    assert pauses[-1] > 1.0
    seen = world.looks
    world.groups.tend(world.groups.next_at - 0.01, give_up=False)
    assert world.looks == seen, "it is not time yet"


def test_another_one_is_looked_at_at_once_however_long_the_first_lasts(world):
    world.running = {7}
    world.add(7, 1.0)
    world.groups.tend(100.0, give_up=False)
    world.add(8, 101.0)
    world.groups.tend(101.0, give_up=False)
    assert world.emptied == [(8, 101.0)]


def test_what_cannot_be_killed_is_named_once_and_waited_for_all_the_same(world):
    world.running = {7}
    group = world.add(7, 1.0)
    world.groups.tend(1.0 + PATIENCE, give_up=False)
    assert world.log.logged == []
    for now in (1.1 + PATIENCE, 100.0, 200.0):
        world.groups.tend(now, give_up=False)
    assert world.log.lines == [("error", "pipe_not_killed", {"group": 7})]
    assert world.groups.groups == [group]
    world.running.clear()
    world.groups.tend(300.0, give_up=False)
    assert world.emptied == [(7, 300.0)]


def test_whoever_stops_waits_for_its_time_only_and_its_claims_stay_open(world):
    world.running = {7}
    world.add(7, 1.0)
    world.groups.tend(1.0 + PATIENCE, give_up=True)
    assert len(world.groups.groups) == 1
    world.groups.tend(20.0, give_up=True)
    assert world.groups.groups == []
    assert world.emptied == []


# --- one group ---


@pytest.fixture
def signals(monkeypatch):
    """(group or pid, signal) of each signal that would have been sent; nothing of a group is seen empty."""
    sent = []
    monkeypatch.setattr(pipe_groups, "signal_group", lambda group, number: sent.append((group, number)))
    monkeypatch.setattr(pipe_groups, "signal_process", lambda pid, number: sent.append((pid, number)))
    monkeypatch.setattr(pipe_groups, "group_is_empty", lambda _group: False)
    return sent


def group_of(number, **more):
    return PipeGroup(number, 1.0, lambda _now: None, FakeLog(), **more)


@pytest.mark.parametrize("number", [0, 1])
def test_a_pipe_that_was_never_started_is_empty_and_nobody_is_signalled_for_it(signals, number):
    group = group_of(number)
    group.kill()
    assert group.is_empty
    assert signals == []


def test_a_number_that_is_anothers_by_now_is_not_killed(signals, monkeypatch):
    monkeypatch.setattr(pipe_groups, "is_another", lambda process: process == Process(77, 1))
    group = group_of(77, pipe=Process(77, 1))
    group.kill()
    assert group.is_empty
    assert signals == []
    group_of(77, pipe=Process(77, 2)).kill()
    assert signals == [(77, signal.SIGKILL)]


def test_the_child_that_led_the_pipe_is_killed_with_it_and_must_be_gone_as_well(signals, monkeypatch):
    running = {Process(70, 1)}
    monkeypatch.setattr(pipe_groups, "is_running", lambda process: process in running)
    monkeypatch.setattr(pipe_groups, "group_is_empty", lambda _group: True)
    group = group_of(77, child=Process(70, 1))
    assert not group.is_empty
    group.kill()
    assert signals == [(70, signal.SIGKILL), (77, signal.SIGKILL)]
    running.clear()
    assert group.is_empty
