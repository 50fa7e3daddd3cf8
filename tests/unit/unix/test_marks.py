"""Which of the processes of this machine prove to be a pipe's: real ones, each with a stranger beside it."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from support.daemon import wait_until

from coworker.unix import marks as module
from coworker.unix import proc
from coworker.unix.marks import TOKEN, Left, Marks
from coworker.unix.proc import Process

OURS, OTHERS = "0a" * 16, "0b" * 16
# A leader that starts a child in its group and exits, whose number is then only the group's.
LEAVE = "import subprocess, sys; print(subprocess.Popen(['sleep', '600'], stdout=2).pid, flush=True)"


@pytest.fixture
def start():
    """Starts a program in a session of its own, with a token; what it started is ended afterwards."""
    started = []

    def start(*command, token=OURS, **more):
        environ = {**os.environ, TOKEN: token}
        started.append(
            subprocess.Popen(
                command, env=environ, start_new_session=True, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, **more,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for each in started:
        with suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGKILL)
        each.stdout.close()
        each.wait()


def leaderless(start, **more):
    """A group whose leader has gone. That leader, and the pid of the member that it left."""
    shell = start(sys.executable, "-c", LEAVE, **more)
    leader = proc.process(shell.pid)
    member = int(shell.stdout.readline())
    shell.wait()
    return leader, member


def test_while_its_leader_is_there_the_whole_group_is_the_pipes(start):
    shell = start("sh", "-c", "env -i sleep 600 & echo $!; exec sleep 600")
    member = int(shell.stdout.readline())
    leader = proc.process(shell.pid)
    left = Marks(leader).left()
    assert left.led
    assert {each.pid for each in left.ours} == {shell.pid, member}
    Marks(leader).kill(left)
    shell.wait()
    wait_until(lambda: Marks(leader).left() == Left([], []))


def test_a_leader_that_nobody_has_reaped_proves_it_still(start):
    shell = start("sh", "-c", "env -i sleep 600 & echo $!")
    member = int(shell.stdout.readline())
    leader = proc.process(shell.pid)
    os.waitid(os.P_PID, shell.pid, os.WEXITED | os.WNOWAIT)
    assert [each.pid for each in Marks(leader).left().ours] == [member]


def test_without_its_leader_a_member_is_known_by_the_token(start):
    leader, member = leaderless(start)
    marks = Marks(leader, OURS)
    wait_until(lambda: [each.pid for each in marks.left().ours] == [member])
    marks.kill(marks.left())
    wait_until(lambda: marks.left() == Left([], []))


@pytest.mark.parametrize("token", ["", OURS])
def test_a_strangers_group_of_the_same_number_is_left_alone(start, token):
    leader, member = leaderless(start, token=OTHERS)
    marks = Marks(leader, token, everywhere=True)
    left = marks.left()
    assert (left.ours, left.unproven) == ([], [member])
    marks.kill(left)
    assert proc.is_running(proc.process(member))


def test_a_member_that_descends_from_us_needs_no_token(start):
    leader, member = leaderless(start, token=OTHERS)
    parent = next(each.parent for each in proc.everybody() if each.process.pid == member)
    left = Marks(leader, OURS, below=parent).left()
    assert ([each.pid for each in left.ours], left.unproven) == ([member], [])


def test_a_number_that_was_given_anew_is_somebody_elses_group(start):
    shell = start("sleep", "600")
    before = Process(shell.pid, proc.process(shell.pid).start - 1)
    assert Marks(before, OURS).left() == Left([], [])
    assert shell.poll() is None


def test_what_has_left_the_group_is_found_by_the_token_where_it_is_wanted(start):
    shell = start("sh", "-c", "setsid sleep 600 & echo; exec sleep 600")
    shell.stdout.readline()
    leader = proc.process(shell.pid)
    everywhere = Marks(leader, OURS, everywhere=True)
    wait_until(lambda: len(everywhere.left().ours) == 2)
    assert [each.pid for each in Marks(leader, OURS).left().ours] == [shell.pid]
    everywhere.kill(everywhere.left())
    shell.wait()
    wait_until(lambda: everywhere.left() == Left([], []))


def test_whoever_looks_is_never_found(monkeypatch):
    monkeypatch.setattr(proc, "in_environment", lambda pid, _variable: pid == os.getpid())
    assert Marks(None, OURS, everywhere=True).left() == Left([], [])


@pytest.mark.parametrize("leader", [None, Process(0, 0), Process(1, 5)])
def test_a_pipe_that_was_never_started_has_no_group(leader):
    assert Marks(leader, OURS).left() == Left([], [])


def test_members_that_proc_hides_are_unproven(start, monkeypatch):
    shell = start("sleep", "600")
    mine = [each for each in proc.everybody() if each.process.pid != shell.pid]
    monkeypatch.setattr(proc, "everybody", lambda: mine)
    assert Marks(proc.process(shell.pid), OURS).left() == Left([], [0])


@pytest.mark.parametrize("below", [0, 1])
def test_where_there_is_no_proc_only_a_group_of_this_daemon_is_killed(start, monkeypatch, below):
    shell = start("sleep", "600")
    monkeypatch.setattr(proc, "everybody", list)
    marks = Marks(Process(shell.pid, 0), OURS, below=below)
    marks.kill(marks.left())
    if below:
        assert shell.wait() == -signal.SIGKILL
    else:
        assert marks.left() == Left([], [shell.pid])
        assert shell.poll() is None


def test_a_process_that_is_another_by_now_is_not_killed(start, monkeypatch):
    sent = []
    monkeypatch.setattr(module, "signal_process", lambda pid, _number: sent.append(pid))
    shell = start("sleep", "600")
    who = proc.process(shell.pid)
    Marks(None).kill(Left([who._replace(start=who.start - 1)], []))
    Marks(None).kill(Left([who], []))
    assert sent == [shell.pid]


def test_an_environment_is_compared_variable_by_variable(start):
    shell = start("sleep", "600")
    wait_until(lambda: proc.in_environment(shell.pid, f"{TOKEN}={OURS}"))
    assert not proc.in_environment(shell.pid, f"{TOKEN}={OURS[:-1]}")
    assert not proc.in_environment(1 << 22, f"{TOKEN}={OURS}")


def test_descendants_are_found_with_those_that_have_changed_their_group(start):
    shell = start("sh", "-c", "setsid sh -c 'sleep 600 & echo; wait' & wait")
    shell.stdout.readline()
    found = wait_until(
        lambda: len(all_ := proc.descendants(shell.pid, proc.everybody())) == 2 and all_,
    )
    assert found[0].parent == shell.pid
    assert found[1].parent == found[0].process.pid
    for each in found:
        os.kill(each.process.pid, signal.SIGKILL)
