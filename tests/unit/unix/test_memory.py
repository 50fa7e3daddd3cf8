"""What a tree of processes holds, and whether the kernel killed for it."""

import os
import subprocess
import sys

import pytest
from support.cgroup import fake_cgroup
from support.daemon import wait_until

from coworker.unix import memory
from coworker.unix.memory import OomWatch


def test_a_tree_is_measured_with_all_its_children():
    eater = "import time; kept = bytearray(b'x' * (60 << 20)); print('ok', flush=True); time.sleep(600)"
    command = f'{sys.executable} -c "{eater}" & wait'
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, start_new_session=True) as shell:
        try:
            assert shell.stdout.readline() == b"ok\n"
            assert memory.tree_rss(shell.pid) > (60 << 20)
        finally:
            os.killpg(shell.pid, 9)
    assert memory.tree_rss(shell.pid) == 0


def test_without_the_kernels_list_of_children_psutil_finds_them(monkeypatch):
    with subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600"], start_new_session=True) as shell:
        try:
            wait_until(lambda: len(memory._children(shell.pid)) == 2)
            expected = sorted(memory._children(shell.pid))
            monkeypatch.setattr(
                "pathlib.Path.read_text", lambda _path: (_ for _ in ()).throw(FileNotFoundError)
            )
            assert sorted(memory._children(shell.pid)) == expected
        finally:
            os.killpg(shell.pid, 9)


@pytest.fixture
def cgroup(tmp_path):
    return fake_cgroup(tmp_path)


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
