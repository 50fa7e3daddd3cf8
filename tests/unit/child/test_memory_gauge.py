"""Memory: what is measured, what is decided, and how the kernel's own kills are told apart."""

import os
import subprocess
import sys

import pytest
from support.daemon import wait_until

from coworker.child import memory_gauge as gauge
from coworker.child.memory_gauge import MIB, MemoryGauge
from coworker.civi.pipe import PipeEndedError
from coworker.errors import MemoryExceededError
from coworker.ipc.messages import MemoryHigh
from coworker.model import ExitStatus
from coworker.policy.memory import Verdict, judge
from coworker.unix.memory import OomWatch, tree_rss


class FakeLink:
    def __init__(self):
        self.posted = []

    def post(self, report):
        self.posted.append(report)


@pytest.mark.parametrize(
    ("held", "limits", "verdict"),
    [
        (100, (100, 200), Verdict.KEEP),
        (101, (100, 200), Verdict.RETIRE),
        (200, (100, 200), Verdict.RETIRE),
        (201, (100, 200), Verdict.KILL),
        (9999, (0, 0), Verdict.KEEP),
        (9999, (0, 200), Verdict.KILL),
        (9999, (100, 0), Verdict.RETIRE),
    ],
)
def test_verdicts(held, limits, verdict):
    assert judge(held, max_memory=limits[0], hard_memory=limits[1]) is verdict


def test_a_tree_is_measured_with_all_its_children():
    eater = "import time; kept = bytearray(b'x' * (60 << 20)); print('ok', flush=True); time.sleep(600)"
    command = f'{sys.executable} -c "{eater}" & wait'
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, start_new_session=True) as shell:
        try:
            assert shell.stdout.readline() == b"ok\n"
            assert tree_rss(shell.pid) > 60 * MIB
        finally:
            os.killpg(shell.pid, 9)
    assert tree_rss(shell.pid) == 0


def test_without_the_kernels_list_of_children_psutil_finds_them(monkeypatch):
    with subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600"], start_new_session=True) as shell:
        try:
            wait_until(lambda: len(gauge.tree_rss.__globals__["_children"](shell.pid)) == 2)
            expected = sorted(gauge.tree_rss.__globals__["_children"](shell.pid))
            monkeypatch.setattr(
                "pathlib.Path.read_text", lambda _path: (_ for _ in ()).throw(FileNotFoundError)
            )
            assert sorted(gauge.tree_rss.__globals__["_children"](shell.pid)) == expected
        finally:
            os.killpg(shell.pid, 9)


@pytest.fixture
def cgroup(tmp_path):
    """(a watch, the file that the kernel counts in)."""
    (tmp_path / "cgroup").write_text("1:name=systemd:/\n0::/system.slice/coworker.service\n")
    folder = tmp_path / "fs/system.slice/coworker.service"
    folder.mkdir(parents=True)
    events = folder / "memory.events"
    events.write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    return OomWatch(tmp_path / "cgroup", tmp_path / "fs"), events


def test_a_kill_of_the_kernel_is_seen_once(cgroup):
    watch, events = cgroup
    assert not watch.has_killed()
    events.write_text("low 0\noom 4\noom_kill 3\noom_group_kill 0\n")
    assert watch.has_killed()
    assert not watch.has_killed()


@pytest.mark.parametrize("content", ["", "oom_kill\n", "oom_kill x\n", "oom 7\n", None])
def test_without_a_counter_nobody_was_killed(tmp_path, content):
    (tmp_path / "cgroup").write_text("0::/\n")
    if content is not None:
        (tmp_path / "memory.events").write_text(content)
    assert not OomWatch(tmp_path / "cgroup", tmp_path).has_killed()
    assert not OomWatch(tmp_path / "nowhere", tmp_path).has_killed()


def gauge_that_finds(mebibytes, monkeypatch):
    found = MemoryGauge(1, FakeLink(), 100, 200)
    monkeypatch.setattr(gauge, "tree_rss", lambda _pid: mebibytes * MIB)
    return found


def test_it_is_measured_at_most_once_a_second(monkeypatch):
    meter = gauge_that_finds(50, monkeypatch)
    asked = []
    monkeypatch.setattr(gauge, "tree_rss", lambda pid: asked.append(pid) or 0)
    now = [1000.0]
    monkeypatch.setattr(gauge.time, "monotonic", lambda: now[0])
    for step in (0.0, 0.5, 0.4, 0.2, 0.5):
        now[0] += step
        meter.while_busy()
        meter.after_batch()
    assert asked == [1, 1]
    assert meter.patience() == pytest.approx(0.5)  # nobody knows yet what the last batch left
    now[0] += 0.5
    meter.after_batch()
    assert meter.patience() is None


def test_too_much_is_told_once_and_far_too_much_ends_the_pipe(monkeypatch):
    meter = gauge_that_finds(150, monkeypatch)
    monkeypatch.setattr(gauge, "INTERVAL", 0.0)
    meter.while_busy()
    assert meter.link.posted == []  # the task that runs may end
    meter.after_batch()
    meter.after_batch()
    assert meter.link.posted == [MemoryHigh(150)]
    monkeypatch.setattr(gauge, "tree_rss", lambda _pid: 201 * MIB)
    with pytest.raises(MemoryExceededError, match="201 MiB, hard_memory is 200"):
        meter.while_busy()


@pytest.mark.parametrize("status", [ExitStatus(signal=9), ExitStatus(code=137)])
def test_the_end_of_a_pipe_is_the_kernels_doing_only_if_it_counted_one(cgroup, status):
    watch, events = cgroup
    meter = MemoryGauge(1, FakeLink(), 100, 200)
    meter._oom = watch
    error = PipeEndedError("the pipe closed its output", status)
    assert meter.explain(error) is error
    events.write_text("oom_kill 3\n")
    assert "killed by the kernel" in str(meter.explain(error))
    events.write_text("oom_kill 4\n")
    assert isinstance(meter.explain(error), MemoryExceededError)
    events.write_text("oom_kill 5\n")
    other = PipeEndedError("the pipe closed its output", ExitStatus(code=1))
    assert meter.explain(other) is other
