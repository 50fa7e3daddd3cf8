"""Processes die in mid-work: one task is affected, its claim is settled at once, all others run once."""

import os
import signal
import time
from signal import SIGKILL, SIGSTOP

import psutil
import pytest
from support.daemon import wait_until
from support.evidence import run_once
from support.processes import wait_gone
from support.tables import settings, site_table, table

LADDER = ["message", "term", "kill"]


def pipe_that_runs(site, item):
    """The pid of the pipe that began this item last."""
    wait_until(lambda: item in site.started(), f"item {item} runs")
    return int([w[4] for w in site.written() if w[:2] == ["start", item]][-1])


def quiet(running):
    """From now on nothing is claimed, so that rows can be looked at."""
    running.send(signal.SIGTSTP)
    running.event("quiet")


def fates(running, count):
    """{item: its fate}, once so many were settled."""
    running.event("settled", count=count)
    return {e["item"]: e["fate"] for e in running.events("settled")}


def test_a_killed_pipe_costs_the_running_task_one_try_and_the_rest_of_its_batch_none(site, daemon, gate):
    site.queue("a", batch_limit=4, retry_limit=1, retry_interval=1)
    (done,) = site.push("a", "empty")
    (held,) = site.push("a", "hold", str(gate))
    rest = site.push("a", "empty", times=2)
    running = daemon(settings(site_table(site), count=1))
    pipe = pipe_that_runs(site, held)
    quiet(running)
    os.kill(pipe, SIGKILL)
    before = int(time.time())
    found = fates(running, 4)
    assert found == {done: "finished", held: "try_counted", rest[0]: "given_back", rest[1]: "given_back"}
    rows = site.rows("a")
    assert [rows[item] for item in rest] == [(0, None)] * 2
    run_count, release_time = rows[held]
    assert run_count == 1
    assert before + 1 <= release_time <= time.time() + 1
    gate.touch()
    running.send(signal.SIGCONT)
    wait_until(lambda: site.left() == 0, "all items gone")
    assert site.started().count(held) == 2
    assert [site.started().count(item) for item in (done, *rest)] == [1, 1, 1]
    assert sorted(site.ended()) == sorted([done, held, *rest])


def test_the_cause_is_logged_with_queue_item_signal_and_stderr(site, daemon, gate):
    site.queue("a")
    (held,) = site.push("a", "complain_and_hold", "disk is full", str(gate))
    running = daemon(settings(site_table(site), count=1))
    os.kill(pipe_that_runs(site, held), SIGKILL)
    settled = running.event("settled", item=held, queue="a")
    lost = running.event("pipe_lost", queue="a")
    assert "SIGKILL" in settled["cause"]
    assert "SIGKILL" in lost["reason"]
    assert "disk is full" in lost["reason"]


def test_without_a_retry_left_a_task_that_was_killed_is_not_run_again_but_deleted_by_civicrm(
    site, daemon, gate
):
    site.queue("a", retry_limit=0, error="delete")
    (held,) = site.push("a", "hold", str(gate))
    running = daemon(settings(site_table(site), count=1))
    os.kill(pipe_that_runs(site, held), SIGKILL)
    running.event("task_done", item=held, outcome="delete")
    assert site.started() == [held]
    assert site.left() == 0


def test_a_killed_worker_takes_its_pipe_with_it_and_its_claim_is_settled(site, daemon, gate):
    site.queue("a", batch_limit=2, retry_limit=1)
    ids = site.push("a", "hold", str(gate), times=2)
    running = daemon(settings(site_table(site), count=1))
    pipe = psutil.Process(pipe_that_runs(site, ids[0]))
    (worker,) = running.workers()
    quiet(running)
    os.kill(worker, SIGKILL)
    assert fates(running, 2) == {ids[0]: "try_counted", ids[1]: "given_back"}
    wait_gone([pipe], seconds=0.5)  # it was gone before anything was settled
    gate.touch()
    running.send(signal.SIGCONT)
    wait_until(lambda: site.left() == 0, "all items gone")
    assert site.started() == [ids[0], ids[1], ids[0]] or site.started() == [ids[0], ids[0], ids[1]]
    assert "SIGKILL" in running.event("gone", pid=worker, reason="crashed")["status"]


def test_a_killed_control_is_replaced_and_the_work_goes_on(site, daemon):
    site.queue("a")
    ids = site.push("a", "nap", 0.01, times=100)
    running = daemon(settings(site_table(site), count=2))
    wait_until(site.started, "work has begun")
    control = running.control()
    pipe = psutil.Process(running.pipe_of(control))
    os.kill(control, SIGKILL)
    wait_gone([pipe])
    running.event("ready", count=2, role="control")
    wait_until(lambda: site.left() == 0, "all items gone")
    ids += site.push("a", "empty", times=10)
    wait_until(lambda: site.left() == 0, "the new ones are found")
    assert run_once(site, ids)


def test_a_claim_is_settled_although_control_is_killed_at_the_same_time(site, daemon, gate):
    site.queue("a", batch_limit=2, retry_limit=1)
    ids = site.push("a", "hold", str(gate), times=2)
    running = daemon(settings(site_table(site), count=1))
    pipe = pipe_that_runs(site, ids[0])
    os.kill(running.control(), SIGKILL)
    os.kill(pipe, SIGKILL)
    gate.touch()
    assert fates(running, 2) == {ids[0]: "try_counted", ids[1]: "given_back"}
    wait_until(lambda: site.left() == 0, "all items gone")
    assert sorted(site.started()) == sorted([*ids, ids[0]])


@pytest.mark.parametrize(
    ("task", "arguments", "how"), [("leave", [3], "exit status 3"), ("crash", [], "SIGSEGV")]
)
def test_a_task_that_ends_its_process_harms_no_other(site, daemon, task, arguments, how):
    site.queue("a", batch_limit=5, retry_limit=0, error="delete")
    before = site.push("a", "empty", times=2)
    (culprit,) = site.push("a", task, *arguments)
    after = site.push("a", "empty", times=12)
    running = daemon(settings(site_table(site), count=2))
    running.event("task_done", item=culprit, outcome="delete")
    wait_until(lambda: site.left() == 0, "all items gone")
    assert sorted(site.ended(), key=int) == [*before, *after]
    assert site.started().count(culprit) == 1
    assert how in running.event("settled", item=culprit, fate="try_counted")["cause"]
    wait_until(lambda: len(running.workers()) == 2, "the place is filled again")


def test_a_pipe_killed_while_it_has_nothing_to_do_is_replaced(site, daemon):
    running = daemon(settings(site_table(site), count=1))
    worker = running.event("ready", worker=1)["pid"]
    os.kill(running.pipe_of(worker), SIGKILL)
    running.event("gone", pid=worker)
    site.queue("a")
    ids = site.push("a", "empty", times=3)
    running.event("task_done", count=3)
    assert run_once(site, ids)
    assert not running.events("settled")


def test_a_frozen_pipe_is_killed_after_task_timeout(site, daemon, gate):
    site.queue("a", batch_limit=2, retry_limit=0, error="delete")
    (held,) = site.push("a", "hold", str(gate))
    (second,) = site.push("a", "empty")
    running = daemon(settings(site_table(site), count=1, task_timeout=0.5))
    pipe = psutil.Process(pipe_that_runs(site, held))
    pipe.send_signal(SIGSTOP)
    gate.touch()
    settled = running.event("settled", item=held, fate="try_counted")
    assert "timeout" in settled["cause"]
    wait_gone([pipe], seconds=0.5)
    running.event("task_done", item=held, outcome="delete")
    running.event("task_done", item=second, outcome="ok")
    assert site.started() == [held, second]


def test_a_frozen_worker_and_a_frozen_control_are_killed_with_their_pipes_and_replaced(site, daemon, gate):
    site.queue("a", retry_limit=0, error="delete")
    running = daemon(settings(site_table(site), count=1, task_timeout=1, boot_timeout=4))
    frozen = [*running.workers(), running.control()]
    pipes = [psutil.Process(running.pipe_of(pid)) for pid in frozen]
    (held,) = site.push("a", "hold", str(gate))
    wait_until(site.started, "the task runs")
    for pid in frozen:
        os.kill(pid, SIGSTOP)
    worker, control = frozen
    assert [running.event("overdue", count=n, pid=worker)["step"] for n in (1, 2, 3)] == LADDER
    assert running.event("overdue", pid=control)["step"] == "kill", "it runs no task, and others wait for it"
    for pid in frozen:
        running.event("gone", pid=pid, reason="timeout")
    wait_gone(pipes)
    running.event("task_done", item=held, outcome="delete")
    ids = site.push("a", "empty", times=2)
    wait_until(lambda: site.left() == 0, "all items gone")
    assert site.started() == [held, *ids]


def test_a_queue_may_have_a_time_limit_of_its_own(site, daemon, gate):
    site.queue("quick/a", error="delete")
    site.queue("slow")
    (killed,) = site.push("quick/a", "hold", str(gate))
    (kept,) = site.push("slow", "nap", 1.5)
    queue = table('sites."example".queues."quick/*"', {"task_timeout": 0.3})
    running = daemon(settings(site_table(site), queue, count=2))
    running.event("task_done", item=killed, outcome="delete")
    running.event("task_done", item=kept, outcome="ok")
