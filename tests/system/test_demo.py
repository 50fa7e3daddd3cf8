"""`coworker demo`: what a newcomer sees, and that nothing of it stays."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from functools import partial
from unittest import mock

import pexpect
import psutil
import pytest
from support.daemon import wait_until

from coworker.demo.daemon import DemoError
from coworker.demo.plan import QueuePlan
from coworker.demo.play import play

COMMAND = [sys.executable, "-m", "coworker", "demo"]


@pytest.fixture
def home(tmp_path):
    """The demo's temporary directories are made here; whatever names it when the test is over is ended."""
    yield tmp_path
    for process in processes(tmp_path):
        process.kill()


def environment(home, **more):
    return {**os.environ, "TMPDIR": str(home), "TERM": "xterm-256color", **more}


def processes(home):
    """Those of a demo below `home`: the master's title and the pipes' command lines name it."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(home) in part for part in process.info["cmdline"] or ())
    ]


def assert_gone(family):
    """Every process of the family has ended; nobody may be there to reap an orphan."""

    def running(process):
        try:
            return process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    wait_until(lambda: not any(map(running, family)), "the end of every process")


def assert_nothing_stays(home):
    wait_until(lambda: not processes(home), "the end of every process")
    assert list(home.iterdir()) == []


def run(home, *arguments, **more):
    return subprocess.run(
        [*COMMAND, *arguments], env=environment(home, **more),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def start(home, *arguments):
    return pexpect.spawn(
        COMMAND[0], [*COMMAND[1:], *arguments], env=environment(home), encoding="utf-8",
        codec_errors="replace",  # a terminal that is interrupted may drop half a character
        timeout=60, dimensions=(40, 100),
    )  # fmt: skip


def start_in_full_swing(home):
    """A demo, and every process below it."""
    demo = subprocess.Popen(
        [*COMMAND, "--tasks", "3000"], env=environment(home),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: any(path.stat().st_size > 5000 for path in home.glob("*/tasks.log")), "tasks")
    return demo, psutil.Process(demo.pid).children(recursive=True)


def test_json_adds_up_and_nothing_stays(home):
    ended = run(home, "--tasks", "120", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    shown = json.loads(ended.stdout)
    assert {"tasks", "lost", "run_twice", "seconds", "queues"} <= shown.keys()
    assert (shown["tasks"], shown["lost"], shown["run_twice"], shown["problems"]) == (120, 0, 0, [])
    queues = {queue["name"]: queue for queue in shown["queues"]}
    assert len(queues) >= 6
    for name in ("tasks", "ok", "retried", "failed", "lost", "run_twice"):
        assert shown[name] == sum(queue[name] for queue in queues.values())
    for queue in queues.values():
        assert queue["tasks"] == queue["ok"] + queue["failed"] + queue["lost"]
    assert queues["flaky"]["retried"] == 2 * queues["flaky"]["ok"] > 0
    assert queues["failing"]["failed"] == queues["failing"]["tasks"] > 0
    assert_nothing_stays(home)


def test_without_a_terminal_there_are_plain_lines(home):
    ended = run(home, "--tasks", "1", "--workers", "1", FORCE_COLOR="1", COWORKER_WORKERS_COUNT="nonsense")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\x1b" not in ended.stdout
    assert "1 of 1 tasks have ended" in ended.stdout
    assert "✓ every task ended as it was made to" in ended.stdout
    assert "1 task in" in ended.stdout
    assert_nothing_stays(home)


def test_on_a_terminal_it_draws_bars_and_closes_with_a_table(home):
    demo = start(home, "--tasks", "120")
    demo.expect("120 tasks in 7 queues")
    demo.expect("of 120 tasks have ended")
    demo.expect("worker 1")
    demo.expect("every task ended as it was made to")
    demo.expect("120 tasks in .* s, 4 workers, .* recycled, 0 lost, 0 run twice")
    demo.expect(pexpect.EOF)
    demo.close()
    assert demo.exitstatus == 0
    assert_nothing_stays(home)


def test_ctrl_c_stops_the_daemon_and_cleans_up(home):
    demo = start(home, "--tasks", "3000")
    demo.expect("worker 1")
    demo.sendintr()
    demo.expect("interrupted by SIGINT")
    demo.expect(pexpect.EOF)
    demo.close()
    assert demo.exitstatus == 130
    assert_nothing_stays(home)


def test_a_second_ctrl_c_makes_the_stop_a_fast_one(home):
    demo = start(home, "--tasks", "3000")
    demo.expect("worker 1")
    (folder,) = home.iterdir()
    daemon = psutil.Process(demo.pid).children()[0]
    workers = [p for p in daemon.children() if "worker" in " ".join(p.cmdline())]
    for worker in workers:  # who is stopped does not leave by itself
        worker.suspend()
    demo.sendintr()
    log = folder / "coworker.log"
    wait_until(lambda: '"stopping"' in log.read_text(), "a graceful stop")
    demo.sendintr()
    wait_until(lambda: not log.exists() or '"halting"' in log.read_text(), "a fast stop")
    for worker in workers:
        if worker.is_running():
            worker.resume()
    demo.expect(pexpect.EOF)
    demo.close()
    assert demo.exitstatus == 130
    assert_nothing_stays(home)


def test_term_stops_the_daemon_and_cleans_up(home):
    demo, family = start_in_full_swing(home)
    demo.terminate()
    _, error = demo.communicate(timeout=60)
    assert demo.returncode == 128 + signal.SIGTERM
    assert "interrupted by SIGTERM" in error
    assert_gone(family)
    assert_nothing_stays(home)


def test_kill_of_the_demo_ends_the_daemon_too(home):
    demo, family = start_in_full_swing(home)
    demo.kill()
    demo.communicate(timeout=60)
    assert_gone(family)


def test_kill_of_the_daemon_is_told_and_what_is_known_is_kept(home):
    demo, family = start_in_full_swing(home)
    (daemon,) = psutil.Process(demo.pid).children()
    daemon.kill()
    _, error = demo.communicate(timeout=60)
    assert demo.returncode == 1
    first, *_, last = error.splitlines()
    assert "the daemon ended (signal 9 (SIGKILL))" in first
    assert '"site": "demo"' in error, "the last lines of its log"
    (kept,) = home.iterdir()
    assert str(kept) in last
    assert_gone(family)


def test_nobody_reads_what_it_prints(home):
    demo, family = start_in_full_swing(home)
    demo.stdout.close()
    assert demo.wait(60) != 0
    assert "Traceback" not in demo.stderr.read()
    demo.stderr.close()
    assert_gone(family)
    assert_nothing_stays(home)


# What must make it fail, done to a real daemon's work.


class Saboteur:
    """Watches, and does `deed` at the first sight of anything for which `when` is true."""

    def __init__(self, deed, when=lambda progress: True):
        self.deed, self.when = deed, when

    def show(self, progress):
        if self.deed is not None and self.when(progress):
            self.deed, deed = None, self.deed
            deed()

    def close(self):
        pass


@pytest.fixture
def here(home, monkeypatch):
    """For demos in this process."""
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    return home


def execute(home, statement):
    (path,) = home.glob("*/site.db")
    connection = sqlite3.connect(path, timeout=10)
    with connection:
        connection.execute(statement)
    connection.close()


def test_a_task_that_vanishes_makes_it_fail(here):
    deed = partial(execute, here, "DELETE FROM civicrm_queue_item WHERE id = 2")
    summary = play(40, 2, Saboteur(deed))
    assert not summary.passed
    assert (summary.total.tally.lost, summary.total.tally.run_twice) == (1, 0)
    assert "lost: 1 (fast 2)" in summary.problems
    assert summary.directory is not None
    assert summary.directory.is_dir()


def test_a_task_that_is_run_twice_makes_it_fail(here):
    """As if its lease had been lost while it ran: it is free again before it has ended."""
    deed = partial(
        execute, here, "UPDATE civicrm_queue_item SET release_time = NULL, run_count = 0 WHERE id = 1"
    )
    slow = {"QUEUES": (QueuePlan("slow", "", 100, "nap", (2.0,)),)}
    with mock.patch.multiple("coworker.demo.play", **slow):
        summary = play(1, 2, Saboteur(deed, when=lambda progress: any(here.glob("*/tasks.log"))))
    assert not summary.passed
    assert summary.total.tally.run_twice == 1


def test_a_daemon_that_hangs_makes_it_fail(here, monkeypatch):
    monkeypatch.setattr("coworker.demo.play.PATIENCE", 1.5)
    monkeypatch.setattr("coworker.demo.daemon.STOP_TIMEOUT", 0.5)
    family = []

    def hang():
        (daemon,) = psutil.Process().children()
        family.extend([daemon, *daemon.children(recursive=True)])
        daemon.suspend()

    with pytest.raises(DemoError, match="nothing moved for"):
        play(3000, 2, Saboteur(hang, when=lambda progress: progress.ended > 0))
    assert_gone(family)
