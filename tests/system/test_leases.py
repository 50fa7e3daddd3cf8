"""A task that outlasts its lease keeps it; the time-out is for each item; poison is not called again."""

import os
import signal
from signal import SIGKILL

import pytest
from support.daemon import wait_until
from support.evidence import run_once
from support.tables import settings, site_table

LEASE = 17  # seconds: the shortest that is renewed, after two seconds


def lease_end(site, item):
    return site.rows("a")[item][1]


def runner(site, item):
    """The pid of the pipe that began this item last."""
    return int([w[4] for w in site.written() if w[:2] == ["start", item]][-1])


def hold_until_renewed(site, held, times=1):
    """Wait until the task runs and its lease has been renewed so often."""
    wait_until(lambda: held in site.started(), "the task runs")
    ends = {lease_end(site, held)}
    wait_until(lambda: ends.add(lease_end(site, held)) or len(ends) > times, "its lease is renewed")


@pytest.mark.parametrize("offset", [0, 3600])  # of the site's clock
def test_a_running_tasks_lease_is_renewed_and_so_are_those_that_wait_behind_it(site, daemon, gate, offset):
    site.queue("a", lease_time=LEASE, batch_limit=2, retry_limit=0)
    ids = [*site.push("a", "hold", str(gate)), *site.push("a", "empty")]
    running = daemon(settings(site_table(site.command(f"--clock-offset={offset}")), count=1))
    hold_until_renewed(site, ids[0], times=2)
    assert lease_end(site, ids[0]) == lease_end(site, ids[1])
    assert [tries for tries, _ in site.rows("a").values()] == [1, 1]
    gate.touch()
    running.event("task_done", count=2)
    assert run_once(site, ids)
    assert not running.events("overdue")


def test_a_lease_is_renewed_though_controls_are_lost(site, daemon, gate):
    site.queue("a", lease_time=LEASE, retry_limit=0)
    (held,) = site.push("a", "hold", str(gate))
    running = daemon(settings(site_table(site), count=1))
    wait_until(lambda: site.started() == [held], "the task runs")
    os.kill(running.pipe_of(running.control()), SIGKILL)
    hold_until_renewed(site, held)
    os.kill(running.pipe_of(running.control()), SIGKILL)
    hold_until_renewed(site, held)
    gate.touch()
    running.event("task_done", item=held, outcome="ok")
    assert run_once(site, [held])


@pytest.mark.parametrize("what", ["pipe", "tree"])
def test_a_renewed_lease_is_known_as_ours_when_its_pipe_is_killed(site, daemon, gate, what):
    site.queue("a", lease_time=LEASE, batch_limit=2, retry_limit=1)
    held, other = [*site.push("a", "hold", str(gate)), *site.push("a", "empty")]
    running = daemon(settings(site_table(site), count=1))
    hold_until_renewed(site, held)
    if what == "pipe":
        os.kill(runner(site, held), SIGKILL)
    else:
        running.kill_all()
        running = daemon(settings(site_table(site), count=1), share=running)
    gate.touch()
    running.event("task_done", count=2)
    assert {e["item"]: e["fate"] for e in running.events("settled")} == {
        held: "try_counted",
        other: "given_back",
    }
    assert sorted(site.started()) == [held, held, other]


def test_one_item_of_a_batch_that_takes_too_long_is_ended_and_the_others_run(site, daemon, gate):
    site.queue("a", batch_limit=100, retry_limit=0, error="delete")
    before = site.push("a", "nap", 0.3, times=8)  # together longer than one may take
    (held,) = site.push("a", "hold", str(gate))
    after = site.push("a", "empty", times=91)
    running = daemon(settings(site_table(site), count=1, task_timeout=2))  # 200 seconds for the batch
    running.event("settled", item=held, fate="try_counted")
    gate.touch()
    running.event("task_done", item=held, outcome="delete")
    wait_until(lambda: site.left() == 0, "all items gone")
    assert site.started().count(held) == 1
    assert sorted(site.ended(), key=int) == [*before, *after]
    assert running.event("gone", reason="timeout")


def test_a_batch_takes_as_long_as_its_items_may_together(site, daemon):
    site.queue("a", batch_limit=10, retry_limit=0)
    ids = site.push("a", "nap", 0.4, times=10)
    running = daemon(settings(site_table(site), count=1, task_timeout=1.5))
    running.event("task_done", count=10)
    assert run_once(site, ids)


def test_a_task_that_brought_down_two_workers_is_not_called_again_and_civicrm_deletes_it(site, daemon):
    site.queue("a", batch_limit=3, retry_limit=9, error="delete")
    (bad,) = site.push("a", "crash")
    good = site.push("a", "empty", times=20)
    running = daemon(settings(site_table(site), count=2))
    alert = running.event("poisoned", level="critical")
    assert (alert["queue"], alert["item"], alert["crashes"]) == ("a", bad, 2)
    assert "SIGSEGV" in alert["cause"]
    running.event("task_done", item=bad, outcome="delete")
    wait_until(lambda: site.left() == 0, "all items gone")
    assert site.started().count(bad) == 2
    assert sorted(site.ended(), key=int) == good


def test_a_queue_that_aborts_is_aborted_by_its_poison(site, daemon):
    site.queue("a", retry_limit=9, error="abort")
    (bad,) = site.push("a", "crash")
    running = daemon(settings(site_table(site), count=1, crash_limit=1))
    running.event("task_done", item=bad, outcome="abort")
    assert site.started() == [bad]


@pytest.mark.parametrize("how", [signal.SIGTERM, SIGKILL])
def test_crashes_are_remembered_across_a_restart(site, daemon, gate, how):
    site.queue("a", retry_limit=9, retry_interval=1, error="delete")
    (held,) = site.push("a", "hold", str(gate))
    first = daemon(settings(site_table(site), count=1))
    wait_until(lambda: site.started() == [held], "the task runs")
    first.send(signal.SIGTSTP)
    first.event("quiet")
    os.kill(runner(site, held), SIGKILL)
    first.event("settled", item=held, fate="try_counted")
    books = first.folder / "state/claims/site-example.claims"
    wait_until(lambda: f'"{held}"' in books.read_text().partition('"crashes"')[2], "the crash is noted")
    if how is SIGKILL:
        first.kill_all()
    else:
        first.stop(how)
    second = daemon(settings(site_table(site), count=1), share=first)
    wait_until(lambda: site.started() == [held] * 2, "the task runs again")
    os.kill(runner(site, held), SIGKILL)
    assert second.event("poisoned")["item"] == held
    second.event("task_done", item=held, outcome="delete")
    assert site.started() == [held] * 2


def out_of_reach(site):
    """A pipe as over ssh: what we can kill are the two ends, PHP itself runs its task to the end."""
    return f"cat | setsid {site.command().removeprefix('exec ')} | cat"


def test_what_a_remote_pipe_was_running_is_left_to_end_and_never_begun_again(site, daemon, gate):
    site.queue("a", batch_limit=3, retry_limit=5)
    held, *rest = [*site.push("a", "hold", str(gate)), *site.push("a", "empty", times=2)]
    running = daemon(settings(site_table(out_of_reach(site), remote=True), count=1))
    wait_until(lambda: site.started() == [held], "the task runs")
    os.killpg(os.getpgid(running.pipe_of(running.workers()[0])), SIGKILL)
    running.event("settled", item=held, fate="unknown")
    running.event("task_done", count=2)  # those behind it, by another pipe
    assert site.started() == [held, *rest]
    gate.touch()
    running.event("settled", item=held, fate="finished")
    assert run_once(site, [held, *rest])
    assert running.stop() == 0


def test_a_remote_pipe_is_sent_one_item_at_a_time(site, daemon):
    site.queue("a", batch_limit=5)
    ids = site.push("a", "empty", times=10)
    running = daemon(settings(site_table(site, remote=True), count=1))
    running.event("task_done", count=10)
    assert run_once(site, ids)
    assert site.started() == ids
