"""What is left of a pipe is killed, and seen gone before anybody is told so."""

import itertools
import signal
from math import inf

import pytest
from support.fake_master import FakeLog

from coworker.master import pipe_groups
from coworker.master.pipe_groups import DOUBT, INTERVAL, PATIENCE, PipeGroup, PipeGroups
from coworker.unix.marks import Left, Marks
from coworker.unix.proc import Process

NOTHING = Left([], [])


class World:
    """Pipes, of which `left` says by number what is left; `looks` counts how often somebody looked."""

    def __init__(self, monkeypatch):
        self.left, self.killed, self.gone, self.looks = {}, [], [], 0
        self.log, self.groups = FakeLog(), PipeGroups()
        monkeypatch.setattr(Marks, "left", lambda marks: self._found(marks.leader.pid))
        monkeypatch.setattr(Marks, "kill", lambda _marks, left: self.killed.extend(left.ours))

    def _found(self, number):
        self.looks += 1
        found = self.left.get(number, NOTHING)
        if isinstance(found, Exception):
            raise found
        return found

    def run(self, *numbers):
        self.left = {number: Left([Process(number, 1)], []) for number in numbers}

    def add(self, number, now, **marks):
        mine = Marks(Process(number, 1), **marks)
        group = PipeGroup(mine, now, lambda at, unseen: self.gone.append((number, at, unseen)), self.log)
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


def test_what_is_left_is_killed_at_once_and_again_at_each_look(world):
    world.run(7)
    world.add(7, 1.0)
    world.add(8, 1.0)
    assert world.killed == [Process(7, 1)]
    world.look()
    assert world.killed == [Process(7, 1)] * 2, "it may have started another"


def test_each_is_reported_gone_once_and_when_it_was_seen_so(world):
    world.run(7)
    world.add(7, 1.0)
    world.add(8, 1.0)
    world.groups.tend(1.0, give_up=False)
    assert world.gone == [(8, 1.0, False)]
    world.run()
    now = world.look()
    assert world.gone == [(8, 1.0, False), (7, now, False)]
    assert world.groups.next_at == inf
    world.groups.tend(now + 5.0, give_up=False)
    assert len(world.gone) == 2


def test_what_may_have_left_the_group_is_gone_when_two_looks_in_a_row_do_not_find_it(world):
    world.run(7)
    group = world.add(7, 1.0, token="0" * 32, everywhere=True)
    for found, expected in ((False, None), (True, None), (False, None), (False, False)):
        world.run(*([7] if found else []))
        assert group.look(2.0) is expected


def test_who_has_no_proof_is_left_alone_and_named_if_that_is_so_for_a_while(world, monkeypatch):
    monkeypatch.setattr(pipe_groups, "name_of", lambda pid: f"{pid} (sleep)")
    world.left = {7: Left([], [70, 0])}
    group = world.add(7, 1.0)
    world.groups.tend(1.0, give_up=False)
    world.groups.tend(1.0 + 0.9 * DOUBT, give_up=False)
    assert (world.gone, world.log.lines) == ([], [])
    world.groups.tend(1.0 + DOUBT, give_up=False)
    assert world.gone == [(7, 1.0 + DOUBT, True)]
    ((level, name, fields),) = world.log.lines
    assert (level, name, fields["group"]) == ("warning", "process_spared", 7)
    assert fields["processes"] == "70 (sleep), a hidden one"
    assert world.killed == []
    assert group not in world.groups.groups


def test_who_had_no_proof_only_for_a_moment_is_nobodys_news(world):
    world.left = {7: Left([], [70])}
    world.add(7, 1.0)
    world.groups.tend(1.0, give_up=False)
    world.run()
    world.groups.tend(1.5, give_up=False)
    assert (world.gone, world.log.lines) == ([(7, 1.5, False)], [])


def test_looks_are_soon_at_first_and_ever_more_seldom(world):
    world.run(7)
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
    world.run(7)
    world.add(7, 1.0)
    world.groups.tend(100.0, give_up=False)
    world.add(8, 101.0)
    world.groups.tend(101.0, give_up=False)
    assert world.gone == [(8, 101.0, False)]


def test_what_cannot_be_killed_is_named_once_and_waited_for_all_the_same(world):
    world.run(7)
    group = world.add(7, 1.0)
    world.groups.tend(1.0 + PATIENCE, give_up=False)
    assert world.log.logged == []
    for now in (1.1 + PATIENCE, 100.0, 200.0):
        world.groups.tend(now, give_up=False)
    assert world.log.lines == [("error", "pipe_not_killed", {"group": 7})]
    assert world.groups.groups == [group]
    world.run()
    world.groups.tend(300.0, give_up=False)
    assert world.gone == [(7, 300.0, False)]


def test_what_cannot_be_seen_now_proves_nothing(world):
    world.left = {7: OSError(24, "Too many open files")}
    group = world.add(7, 1.0)
    assert group.look(1.0) is None


def test_whoever_stops_waits_for_its_time_only_and_its_claims_stay_open(world):
    world.run(7)
    world.add(7, 1.0)
    world.groups.tend(1.0 + PATIENCE, give_up=True)
    assert len(world.groups.groups) == 1
    world.groups.tend(20.0, give_up=True)
    assert world.groups.groups == []
    assert world.gone == []


def test_the_child_that_led_the_pipe_is_killed_with_it_and_must_be_gone_as_well(world, monkeypatch):
    running, sent = {Process(70, 1)}, []
    monkeypatch.setattr(pipe_groups, "is_running", lambda process: process in running)
    monkeypatch.setattr(pipe_groups, "signal_process", lambda pid, number: sent.append((pid, number)))
    group = world.add(77, 1.0)
    group.child = Process(70, 1)
    world.run(77)
    assert group.look(1.0) is None
    assert (sent, world.killed) == ([(70, signal.SIGKILL)], [Process(77, 1)])
    world.run()
    assert group.look(1.0) is None
    running.clear()
    assert group.look(1.1) is False
