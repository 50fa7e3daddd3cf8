"""After a KILL of the daemon only what proves to be ours is killed, wherever it went (rule 1)."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest
from support.daemon import wait_until
from support.processes import alive, wait_gone
from support.tables import settings, site_table

from coworker.unix.proc import process

# A leader that starts a child in its group and exits, whose number is then only the group's.
LEAVE = "import subprocess, sys; print(subprocess.Popen(['sleep', '600'], stdout=2).pid, flush=True)"


@pytest.fixture
def stranger():
    """(group, process): somebody led a group, left a child in it, and exited."""
    with subprocess.Popen(
        [sys.executable, "-c", LEAVE], start_new_session=True, stdout=subprocess.PIPE
    ) as leader:
        leader.start = process(leader.pid).start
        member = psutil.Process(int(leader.stdout.readline()))
    yield leader, member
    member.kill()


def journal_of(running, worker):
    (path,) = (running.folder / "state" / "claims").glob(f"{worker}-*.claims")
    return path


def change_head(path, **fields):
    first, _, rest = path.read_text().partition("\n")
    mark, version, head = json.loads(first)
    path.write_text(json.dumps([mark, version, {**head, **fields}]) + "\n" + rest)


def test_a_strangers_group_of_the_same_number_lives_and_what_had_begun_is_watched(
    site, daemon, gate, stranger
):
    leader, member = stranger
    site.queue("a", batch_limit=3, retry_limit=0, lease_time=8)
    held, *later = [*site.push("a", "hold", str(gate)), *site.push("a", "empty", times=2)]
    first = daemon(settings(site_table(site), count=1))
    wait_until(lambda: site.started() == [held], "the batch runs")
    (worker,) = first.workers()
    path = journal_of(first, worker)
    first.kill_all()
    change_head(path, pipe=[leader.pid, leader.start])
    gate.touch()
    again = daemon(settings(site_table(site), count=1), share=first, wait=None)
    spared = again.event("process_spared")
    assert (spared["level"], spared["group"]) == ("warning", leader.pid)
    assert str(member.pid) in spared["processes"]
    again.event("settled", count=3)
    fates = {e["item"]: e["fate"] for e in again.events("settled")}
    assert fates == {held: "unknown", **dict.fromkeys(later, "try_restored")}
    wait_until(lambda: site.left() == 0, "all items gone when their leases have ended")
    assert site.started() == [held, *later], "what was begun had no other try"
    assert alive(member)
    assert again.stop() == 0


def test_pids_of_another_container_are_nobodys(site, daemon, gate, stranger):
    leader, member = stranger
    site.queue("a", retry_limit=1)
    (held,) = site.push("a", "hold", str(gate))
    first = daemon(settings(site_table(site), count=1))
    wait_until(lambda: site.started() == [held], "the task runs")
    path = journal_of(first, *first.workers())
    first.kill_all()
    who = psutil.Process(member.pid)
    same = [who.pid, process(who.pid).start]  # whatever their pids and start times
    change_head(path, pids="pid:[1]", pipe=same, child=same)
    again = daemon(settings(site_table(site), count=1), share=first, wait=None)
    assert "another pid namespace" in again.event("process_spared")["processes"]
    assert again.event("settled", item=held)["fate"] == "unknown"
    assert alive(member)
    assert leader.returncode == 0


@pytest.mark.parametrize("how", ["leader gone", "left the group", "all of it"])
def test_what_is_ours_is_killed_before_anything_is_settled(site, daemon, gate, how):
    site.queue("a", retry_limit=1)
    (held,) = site.push("a", "hold", str(gate))
    inner = site.command().removeprefix("exec ")
    command = f"setsid -w {inner}" if how == "left the group" else f"{inner}; exit"
    first = daemon(settings(site_table(command), count=1))
    wait_until(lambda: site.started() == [held], "the task runs")
    task = psutil.Process(int(site.written()[0][4]))
    (worker,) = first.workers()
    os.kill(worker, signal.SIGSTOP)  # so that it cannot end its pipe itself
    leader = first.pipe_of(worker)
    killed = {worker, leader} if how != "all of it" else {worker}
    first.kill_all(lambda tree: [each for each in tree if each.pid in killed])
    assert alive(task)
    again = daemon(settings(site_table(command), count=1), share=first, wait=None)
    assert again.event("settled", item=held)["fate"] == "try_counted"
    assert not alive(task)
    gate.touch()
    again.event("task_done", item=held)
    assert not again.events("process_spared")
    assert site.ended() == [held]


def test_what_a_task_left_behind_on_purpose_outlives_a_kill_of_everything_in_an_idle_moment(site, daemon):
    site.queue("a")
    (first_item,) = site.push("a", "orphan", 600)
    first = daemon(settings(site_table(site), count=1))
    first.event("task_done", item=first_item)
    orphan = psutil.Process(int(site.written()[1][5]))
    workers = [psutil.Process(pid) for pid in first.workers()]
    wait_until(lambda: not first.events("task_done") or site.left() == 0)
    first.kill_all(lambda tree: [each for each in tree if each != orphan])
    wait_gone(workers)
    again = daemon(settings(site_table(site), count=1), share=first)
    (done,) = site.push("a", "empty")
    again.event("task_done", item=done)
    assert alive(orphan)
    orphan.kill()
