"""A child that holds no pipe: forked, heard, told to go, and reaped like any other."""

import os
import signal
import time
from functools import partial

import psutil
import pytest
from support.daemon import wait_until

from coworker.child import child
from coworker.ipc.messages import Bye, Flush, Flushed, Note, Retire
from coworker.master.children import Children
from coworker.master.timers import Timers
from coworker.model import ExitStatus
from coworker.unix.poller import Poller


def watch(link, poller, title):
    """What a monitor would do: nothing, until it is told to go."""
    title.say("watching")
    link.report(Note("info", "here", {"pid": os.getpid()}))
    while not any(isinstance(order, Retire) for order in link.inbox):
        poller.wait(None)
    return Bye(link.inbox.pop().reason, "it has no pipe")


def crash(_link, _poller, _title):
    raise RuntimeError("a bug")


class Sink:
    """Notes what it is told."""

    def __init__(self):
        self.said, self.garbage, self.status = [], [], {}

    def heard(self, name, report, _now):
        self.said.append((name, report))

    def garbled(self, name, reason):
        self.garbage.append((name, reason))

    def ended(self, name, status, _now):
        self.status[name] = status


class World:
    def __init__(self):
        self.poller, self.sink = Poller(), Sink()
        self.children = Children(self.poller, Timers(), (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        self.pids = []

    def start(self, name, life):
        self.pids.append(self.children.start(partial(child.run, name, life), self.sink, name))
        return self.pids[-1]

    def until(self, condition):
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, f"said so far: {self.sink.said}"
            self.poller.wait(0.05)
            self.children.reap()


@pytest.fixture
def world():
    world = World()
    yield world
    for pid in world.pids:
        world.children.signal(pid, signal.SIGKILL)
    world.until(lambda: len(world.sink.status) == len(world.pids))


def reports(world, kind):
    return [report for _, report in world.sink.said if isinstance(report, kind)]


def test_it_is_heard_told_to_go_and_reaped(world):
    pid = world.start("monitor", watch)
    world.until(lambda: reports(world, Note))
    assert reports(world, Note)[0].fields == {"pid": pid}
    wait_until(lambda: "monitor" in " ".join(psutil.Process(pid).cmdline()), "its title")
    world.children.send(pid, Flush())
    world.until(lambda: reports(world, Flushed))
    world.children.send(pid, Retire("shutdown"))
    world.until(lambda: world.sink.status)
    assert reports(world, Bye) == [Bye("shutdown", "it has no pipe")]
    assert world.sink.status == {"monitor": ExitStatus(code=0)}


def test_term_tells_it_to_go(world):
    pid = world.start("monitor", watch)
    world.until(lambda: reports(world, Note))
    os.kill(pid, signal.SIGTERM)
    world.until(lambda: world.sink.status)
    assert [report.reason for report in reports(world, Bye)] == ["shutdown"]


def test_a_bug_in_it_is_told_and_it_says_no_bye(world):
    world.start("monitor", crash)
    world.until(lambda: world.sink.status)
    (note,) = reports(world, Note)
    assert (note.event, "a bug" in note.fields["text"]) == ("child_crashed", True)
    assert reports(world, Bye) == []
    assert world.sink.status == {"monitor": ExitStatus(code=1)}


def test_children_are_told_apart(world):
    first, second = world.start("one", watch), world.start("two", watch)
    world.until(lambda: len(reports(world, Note)) == 2)
    os.kill(second, signal.SIGKILL)
    world.until(lambda: world.sink.status)
    assert world.sink.status == {"two": ExitStatus(signal=9)}
    world.children.send(second, Retire("shutdown"))  # to one that is gone it does nothing
    world.children.send(first, Retire("shutdown"))
    world.until(lambda: len(world.sink.status) == 2)
