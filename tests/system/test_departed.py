"""Pipes whose processes have left their group: killed in mid-task, all of them end before anybody goes on."""

import os
import signal
from contextlib import suppress

import psutil
import pytest
from support.daemon import wait_until
from support.php_site import PhpSite
from support.processes import alive, wait_gone, zombies
from support.tables import settings, site_table

LEAVES = {
    "setsid": "setsid -w {command}",
    "timeout": "timeout 1000 {command}; exit",
    "double fork": "exec 3<&0; (setsid {command} <&3 &); exec sleep 600",
    "many times": "setsid -w sh -c 'exec 3<&0; setsid -w timeout 1000 {command} <&3 & wait; exit'",
}


@pytest.fixture(params=["python", "php"])
def place(request, tmp_path, site):
    """A site in Python, and one in PHP."""
    return site if request.param == "python" else PhpSite(tmp_path / "php")


def leaving(place, how="setsid"):
    command = place.command().removeprefix("exec ")
    return LEAVES[how].format(command=command)


def running_pipe(place, times=1):
    """The process that has begun a task, for the so-manieth time."""
    wait_until(lambda: len(place.started()) >= times, "the task runs")
    return psutil.Process(int([w[4] for w in place.written() if w[0] == "start"][times - 1]))


def overlaps(place):
    return [w for w in place.written() if w[0] == "overlap"]


def outside(process, running):
    """Whether the process is in none of the groups that the daemon's children have made."""
    groups = {running.pipe_of(pid) for pid in running.titles()}
    return os.getpgid(process.pid) not in groups


@pytest.mark.parametrize("how", LEAVES)
def test_a_task_that_takes_too_long_is_over_when_it_is_tried_again(site, daemon, tmp_path, how):
    site.queue("a", retry_limit=1, error="delete")
    (item,) = site.push("a", "alone", str(tmp_path), 600)
    running = daemon(settings(site_table(leaving(site, how)), count=2, task_timeout=1))
    first = running_pipe(site)
    assert outside(first, running)
    assert running.event("settled", item=item)["fate"] == "try_counted"
    assert not alive(first)
    second = running_pipe(site, 2)
    running.event("settled", 2, item=item)
    assert not alive(second)
    wait_until(lambda: site.left() == 0, "CiviCRM ends the item")
    assert not overlaps(site)
    assert not running.events("overdue", step="kill"), "the child ended it, nobody had to end the child"


def test_so_is_one_whose_worker_was_killed(place, daemon, tmp_path):
    place.queue("a", retry_limit=1, error="delete")
    (item,) = place.push("a", "alone", str(tmp_path), 600)
    running = daemon(settings(site_table(leaving(place)), count=1, task_timeout=600))
    first = running_pipe(place)
    assert outside(first, running)
    os.kill(running.event("ready", worker=1)["pid"], signal.SIGKILL)
    assert running.event("settled", item=item)["fate"] == "try_counted"
    assert not alive(first)
    second = running_pipe(place, 2)
    assert not overlaps(place)
    running.send(signal.SIGQUIT)
    assert running.process.wait(60) == 0
    assert not alive(second)
    assert place.rows()[item] == (1, None), "it was ended by us, at a stop"


def test_so_is_one_whose_pipe_has_lost_only_its_leader(site, daemon, tmp_path):
    site.queue("a", retry_limit=1, error="delete")
    (item,) = site.push("a", "alone", str(tmp_path), 600)
    running = daemon(settings(site_table(leaving(site)), count=1, task_timeout=600))
    first = running_pipe(site)
    (worker,) = running.workers()
    os.kill(running.pipe_of(worker), signal.SIGKILL)
    running.event("settled", item=item)
    assert not alive(first)
    running_pipe(site, 2)
    assert not overlaps(site)


def test_so_is_one_that_ran_when_everything_was_killed(place, daemon, tmp_path):
    place.queue("a", retry_limit=1, error="delete")
    (item,) = place.push("a", "alone", str(tmp_path), 600)
    first = daemon(settings(site_table(leaving(place)), count=1, task_timeout=600))
    before = running_pipe(place)
    first.kill_all(lambda tree: [process for process in tree if process != before])
    assert alive(before)
    again = daemon(settings(site_table(leaving(place)), count=1, task_timeout=600), share=first, wait=None)
    again.event("settled", item=item)
    assert not alive(before)
    after = running_pipe(place, 2)
    assert not overlaps(place)
    again.send(signal.SIGQUIT)
    assert again.process.wait(60) == 0
    assert not alive(after)


def test_a_pipe_that_hangs_while_it_boots_leaves_nothing_behind(site, daemon):
    command = f"setsid -w sh -c 'echo started >&2; sleep 600' {site.store}"
    running = daemon(settings(site_table(command), count=1, boot_timeout=0.5), wait="boot_failed")
    hung = [process for process in running.tree() if str(site.store) in " ".join(process.cmdline())]
    running.event("boot_failed", 2)
    running.stop()
    wait_gone(hung)


@pytest.mark.parametrize("remote", [True, False])
def test_the_connection_that_remote_pipes_share_outlives_the_one_that_opened_it(
    site, daemon, tmp_path, remote
):
    site.queue("a", retry_limit=0, error="delete")
    site.push("a", "hold", str(tmp_path / "never"))
    pids = tmp_path / "master"
    share = f"setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $! >>{pids}; {site.command()}"
    running = daemon(settings(site_table(share, remote=remote), count=1, task_timeout=1))
    running_pipe(site)
    worker = running.event("ready", worker=1)["pid"]
    masters = [psutil.Process(int(pid)) for pid in pids.read_text().split()]
    (opened,) = [each for each in masters if psutil.Process(worker) in each.parents()]
    running.event("gone", pid=worker, reason="timeout")
    assert alive(opened) is remote
    running.stop()
    for pid in pids.read_text().split():
        with suppress(psutil.NoSuchProcess):
            psutil.Process(int(pid)).kill()


def test_what_a_task_left_behind_on_purpose_outlives_the_ordinary_end_of_its_pipe(site, daemon):
    site.queue("a")
    (first,) = site.push("a", "orphan", 600)
    running = daemon(settings(site_table(site), count=1, max_requests=2))
    running.event("task_done", item=first, outcome="ok")
    (orphan,) = [psutil.Process(int(w[5])) for w in site.written() if w[0] == "child"]
    site.push("a", "empty", times=2)
    running.event("gone", reason="max_requests")
    assert alive(orphan)
    assert running.stop() == 0
    assert alive(orphan)
    orphan.kill()


def test_a_worker_reaps_what_its_tasks_left_behind_while_it_is_idle_and_keeps_the_status_of_its_pipe(
    site, daemon
):
    site.queue("a", retry_limit=0)
    site.push("a", "orphan", 0.1, times=3)
    running = daemon(settings(site_table(site), count=1))
    running.event("task_done", 3)
    (worker,) = running.workers()
    orphans = [int(w[5]) for w in site.written() if w[0] == "child"]
    wait_until(lambda: not any(map(psutil.pid_exists, orphans)), "the orphans were reaped")
    assert not zombies(worker)
    site.push("a", "leave", 37)
    assert "exit status 37" in running.event("pipe_lost")["reason"]
