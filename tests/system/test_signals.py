"""What each signal does, to the master and to its children. TERM, INT, QUIT: test_stop; HUP: test_reload."""

import os
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest
from support.daemon import wait_until
from support.processes import wait_gone, zombies
from support.tables import settings, site_table

NEVER = {"poll_interval": 3600, "poll_interval_max": 3600}


def start(daemon, site, *, site_values=None, arguments=(), **workers):
    """A daemon all of whose workers are ready."""
    table = site_table(site, **(site_values or {}))
    running = daemon(settings(table, **workers), arguments=arguments)
    running.event("ready", count=1 + workers.get("count", 2))
    return running


def ready_workers(running):
    """Pids of the workers that said hello and have not been told to leave."""
    pids = {e["pid"] for e in running.events("ready") if "worker" in e}
    left = {e["pid"] for e in running.events() if e["event"] in ("retiring", "gone")}
    return pids - left


def assert_runs_tasks(site, running, times=10):
    """Tasks pushed now are run, each once."""
    before = site.ended()
    ids = site.push("a", "empty", times=times)
    wait_until(lambda: site.left("a") == 0, "the end of the tasks")
    assert sorted(site.ended()) == sorted(before + ids)
    assert running.process.poll() is None


# --- the master ---


def test_ttin_adds_a_worker_and_ttou_takes_one_away(site, daemon):
    running = start(daemon, site, count=2)
    running.send(signal.SIGTTIN)
    assert running.event("count_changed")["workers"] == 3
    wait_until(lambda: len(ready_workers(running)) == 3, "a third worker")
    running.send(signal.SIGTTOU)
    assert running.event("count_changed", count=2)["workers"] == 2
    running.event("gone", reason="surplus")
    assert len(running.workers()) == 2


def test_ttou_leaves_one_worker_at_least(site, daemon):
    site.queue("a")
    running = start(daemon, site, count=2)
    for count in (1, 2, 3):
        running.send(signal.SIGTTOU)
        assert running.event("count_changed", count=count)["workers"] == 1
    running.event("gone", reason="surplus")
    assert_runs_tasks(site, running)
    assert len(running.workers()) == 1


def test_ttou_lets_the_worker_that_is_busy_stay(site, daemon, gate):
    site.queue("a")
    site.push("a", "hold", str(gate))
    running = start(daemon, site, count=2)
    wait_until(site.started, "the start of the task")
    busy = site.written()[0][4]
    running.send(signal.SIGTTOU)
    running.event("gone", reason="surplus")
    (left,) = running.workers()
    assert str(running.pipe_of(left)) == busy
    gate.touch()
    wait_until(site.ended, "the end of the task")


def test_usr2_looks_for_work_now(site, daemon):
    site.queue("a")
    running = start(daemon, site, site_values=NEVER, arguments=["-d", "log.looking=true"])
    running.event("looked")
    ids = site.push("a", "empty")
    running.send(signal.SIGUSR2)
    wait_until(lambda: site.ended() == ids, "the task")


def test_usr1_after_logrotate_writes_to_a_new_file(site, daemon):
    running = start(daemon, site)
    old = running.log.with_suffix(".log.1")
    running.log.rename(old)
    running.send(signal.SIGUSR1)
    assert running.event("logs_reopened")
    length = old.stat().st_size
    assert running.stop() == 0
    assert old.stat().st_size == length
    assert running.events("stopped")


def test_usr1_keeps_the_old_log_when_no_new_one_can_be_made(site, daemon, tmp_path):
    running = start(daemon, site)
    old = tmp_path / "old.log"
    running.log.rename(old)
    running.log.mkdir()
    running.send(signal.SIGUSR1)
    wait_until(lambda: "log_not_reopened" in old.read_text(), "the reason in the old log")
    assert running.stop() == 0
    assert "stopped" in old.read_text()


def test_tstp_claims_nothing_new_and_cont_goes_on(site, daemon, gate):
    site.queue("a")
    (held,) = site.push("a", "hold", str(gate))
    running = start(daemon, site, count=2)
    wait_until(site.started, "the start of the task")
    running.send(signal.SIGTSTP)
    running.event("quiet")
    ids = site.push("a", "empty", times=5)
    gate.touch()
    wait_until(lambda: site.ended() == [held], "the end of the task that ran")
    running.send(signal.SIGUSR2)  # not even then
    assert_nothing_is_claimed(site, running, ids)
    running.send(signal.SIGCONT)
    running.event("going_on")
    wait_until(lambda: site.left() == 0, "the rest")
    assert sorted(site.ended()) == sorted([held, *ids])


def test_tstp_ends_slices_that_are_long(site, daemon):
    site.queue("a")
    site.push("a", "nap", 0.01, times=400)
    running = start(daemon, site, count=1, slice=3600)
    wait_until(site.ended, "a first task")
    running.send(signal.SIGTSTP)
    running.event("quiet")
    begun = len(site.started())
    wait_until(lambda: not any(" a " in title for title in running.titles().values()), "a pause")
    assert len(site.started()) <= begun + 10
    assert_nothing_is_claimed(site, running, list(site.rows()))
    running.send(signal.SIGCONT)
    wait_until(lambda: len(site.ended()) > begun + 10, "more tasks")


def assert_nothing_is_claimed(site, running, ids):
    """As many looks as would be needed to find them pass, and none is claimed."""
    changes = len(running.events("count_changed"))
    for number in (1, 2):  # the master has served two more signals since
        running.send(signal.SIGTTIN)
        running.event("count_changed", count=changes + number)
    wait_until(lambda: len(ready_workers(running)) >= 3, "new workers, which are idle")
    assert site.rows() == dict.fromkeys(ids, (0, None))


def test_a_quiet_daemon_stops_as_any_other(site, daemon):
    site.queue("a")
    running = start(daemon, site)
    running.send(signal.SIGTSTP)
    running.event("quiet")
    ids = site.push("a", "empty")
    assert running.stop() == 0
    assert site.rows() == {ids[0]: (0, None)}


def test_a_quiet_daemon_that_reloads_stays_quiet(site, daemon):
    site.queue("a")
    running = start(daemon, site)
    running.send(signal.SIGTSTP)
    running.event("quiet")
    running.send(signal.SIGHUP)
    running.event("gone", count=3, reason="reload")
    ids = site.push("a", "empty", times=3)
    assert_nothing_is_claimed(site, running, ids)


def test_a_flood_of_signals_is_served(site, daemon):
    site.queue("a")
    running = start(daemon, site)
    for _ in range(300):
        for number in (signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1, signal.SIGCHLD):
            running.send(number)
    assert_runs_tasks(site, running)
    assert running.stop() == 0


# --- before it has handlers ---


def blocks(pid, number):
    """Whether the process has this signal blocked."""
    (mask,) = re.findall(r"^SigBlk:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


def start_and_send(daemon, site, number):
    """A daemon that gets the signal right after its start, long before it has read its settings."""
    running = daemon(settings(site_table(site), count=1), wait=None)
    wait_until(lambda: blocks(running.pid, number), "its first statement")
    running.send(number)
    return running


@pytest.mark.parametrize("name", ["HUP", "USR1", "USR2", "TTIN", "TSTP"])
def test_a_signal_right_after_the_start_is_served_when_there_are_handlers(site, daemon, name):
    running = start_and_send(daemon, site, getattr(signal, f"SIG{name}"))
    served = {
        "HUP": "reloaded", "USR1": "logs_reopened", "USR2": "ready", "TTIN": "count_changed", "TSTP": "quiet",
    }  # fmt: skip
    running.event(served[name])
    assert running.stop() == 0


@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT"])
def test_a_stop_right_after_the_start_is_a_clean_one(site, daemon, name):
    running = start_and_send(daemon, site, getattr(signal, f"SIG{name}"))
    assert running.process.wait(60) == 0
    assert running.events("stopped")
    assert not (running.folder / "run").exists()  # nor the pid file in it


def test_neither_children_nor_pipes_have_signals_blocked(site, daemon):
    running = start(daemon, site, count=1)
    for pid in (running.pid, *(process.pid for process in running.tree())):
        assert not any(blocks(pid, number) for number in range(1, 32))


WITH_SIGNALS_BLOCKED = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_signals_that_whoever_started_it_had_blocked_are_served_all_the_same(site, daemon):
    prefix = (sys.executable, "-c", WITH_SIGNALS_BLOCKED)
    running = daemon(settings(site_table(site), count=1), prefix=prefix)
    running.send(signal.SIGHUP)
    running.event("reloaded")
    assert running.stop() == 0


# --- its children ---


@pytest.mark.parametrize("role", ["worker", "control"])
def test_a_child_that_is_killed_is_reaped_replaced_and_its_pipe_ended(site, daemon, role):
    site.queue("a")
    running = start(daemon, site)
    pid = running.workers()[0] if role == "worker" else running.control()
    lost = [psutil.Process(pid), psutil.Process(running.pipe_of(pid))]
    lost[0].kill()
    running.event("ready", count=4)
    wait_gone(lost)
    assert zombies(running.pid) == []
    assert running.event("gone", pid=pid)["status"] == "signal 9 (SIGKILL)"
    assert_runs_tasks(site, running)


@pytest.mark.parametrize("role", ["worker", "control"])
def test_a_pipe_that_is_killed_costs_its_child_which_is_replaced(site, daemon, role):
    site.queue("a")
    running = start(daemon, site)
    pid = running.workers()[0] if role == "worker" else running.control()
    os.kill(running.pipe_of(pid), signal.SIGKILL)
    assert "SIGKILL" in running.event("pipe_lost", pid=pid)["reason"]
    running.event("ready", count=4)
    running.event("gone", pid=pid)
    assert_runs_tasks(site, running)
    assert zombies(running.pid) == []


@pytest.mark.parametrize("role", ["worker", "control"])
def test_term_tells_an_idle_child_to_leave_and_it_is_replaced(site, daemon, role):
    site.queue("a")
    running = start(daemon, site)
    pid = running.workers()[0] if role == "worker" else running.control()
    os.kill(pid, signal.SIGTERM)
    assert running.event("gone", pid=pid)["status"] == "exit status 0"
    running.event("ready", count=4)
    assert_runs_tasks(site, running)


def test_term_lets_a_busy_worker_finish_its_task_before_it_leaves(site, daemon, gate):
    site.queue("a")
    held = site.push("a", "hold", str(gate))
    running = start(daemon, site, count=1)
    wait_until(site.started, "the start of the task")
    (pid,) = running.workers()
    os.kill(pid, signal.SIGTERM)
    later = site.push("a", "empty")
    gate.touch()
    running.event("gone", pid=pid)
    wait_until(lambda: site.left() == 0, "the other task")
    assert site.ended() == held + later
    assert site.started() == held + later


def test_every_other_signal_is_ignored_by_children(site, daemon):
    site.queue("a")
    running = start(daemon, site)
    before = set(running.titles())
    for pid in before:
        for name in ("INT", "HUP", "QUIT", "USR1", "USR2", "TTIN", "TTOU", "TSTP", "CONT", "CHLD"):
            os.kill(pid, getattr(signal, f"SIG{name}"))
    assert_runs_tasks(site, running, times=30)
    assert set(running.titles()) == before


def test_term_for_the_master_and_all_children_at_once_is_a_graceful_stop(site, daemon, gate):
    site.queue("a")
    held = site.push("a", "hold", str(gate))
    running = start(daemon, site)
    wait_until(site.started, "the start of the task")
    for pid in [*running.titles(), running.pid]:  # as `pkill coworker` does
        os.kill(pid, signal.SIGTERM)
    running.event("stopping")
    gate.touch()
    assert running.process.wait(60) == 0
    assert site.ended() == held
    assert site.left() == 0
    assert running.events("overdue") == []


def test_int_for_the_whole_terminal_is_a_graceful_stop(site, daemon, gate):
    site.queue("a")
    held = site.push("a", "hold", str(gate))
    running = start(daemon, site)
    wait_until(site.started, "the start of the task")
    os.killpg(running.pid, signal.SIGINT)  # as Ctrl-C does
    running.event("stopping")
    gate.touch()
    assert running.process.wait(60) == 0
    assert site.ended() == held


def test_workers_that_are_killed_again_and_again_lose_nothing(site, daemon):
    site.queue("a", retry_limit=1)
    ids = site.push("a", "nap", 0.01, times=100)
    running = start(daemon, site)
    for number in range(3):
        wait_until(lambda enough=20 * number: len(site.ended()) > enough, "some tasks")
        os.kill(wait_until(running.workers, "a worker")[0], signal.SIGKILL)
        running.event("gone", count=number + 1, status="signal 9 (SIGKILL)")
    # An item whose claim was not answered stays leased; one that ran is tried again.
    wait_until(lambda: site.left() <= len(running.events("claim_unanswered")), "the end of all tasks")
    assert set(site.ended()) | site.rows().keys() == set(ids)
    assert all(release_time for _, release_time in site.rows().values())
    assert len(site.started()) <= len(ids) + 3
