"""HUP with several sites: added, removed, changed, broken."""

import os
import signal

import pytest
from support.daemon import wait_until
from support.evidence import run_once
from support.site import Site
from support.tables import settings, site_table
from support.ways import reached, token_file


def start(daemon, *tables):
    """A daemon with one worker for each of these sites."""
    return daemon(settings(*tables, count=1))


def hup(running, *tables):
    running.configure(settings(*tables, count=1))
    running.send(signal.SIGHUP)


def pids_of(running, name):
    """Control and worker of a site."""
    return {pid for pid, title in running.titles().items() if f" {name}" in title}


def assert_runs_tasks(site, queue="q"):
    site.queue(queue)
    ids = site.push(queue, "empty", times=3)
    wait_until(lambda: site.left(queue) == 0, "the tasks")
    assert [site.ended(queue).count(each) for each in ids] == [1, 1, 1]


def test_a_site_that_is_added_is_served(site, other, daemon):
    running = start(daemon, site_table(site, "one"))
    running.event("ready", count=2)
    hup(running, site_table(site, "one"), site_table(other, "two"))
    assert running.event("reloaded")["sites"] == "one,two"
    assert_runs_tasks(other)
    assert_runs_tasks(site)


def test_a_site_that_is_removed_finishes_its_task_and_leaves(site, other, daemon, gate):
    other.queue("a")
    held = other.push("a", "hold", str(gate))
    running = start(daemon, site_table(site, "one"), site_table(other, "two"))
    wait_until(other.started, "the start of the task")
    later = other.push("a", "empty")
    hup(running, site_table(site, "one"))
    assert running.event("reloaded")["sites"] == "one"
    assert_runs_tasks(site)
    gate.touch()
    wait_until(lambda: not pids_of(running, "two"), "the end of the removed site's children")
    assert other.ended() == held
    assert other.rows() == {later[0]: (0, None)}
    assert running.stop() == 0


def test_a_site_that_is_removed_can_come_back_while_its_task_still_runs(site, other, daemon, gate):
    other.queue("a")
    held = other.push("a", "hold", str(gate))
    running = start(daemon, site_table(site, "one"), site_table(other, "two"))
    wait_until(other.started, "the start of the task")
    hup(running, site_table(site, "one"))
    running.event("reloaded")
    hup(running, site_table(site, "one"), site_table(other, "two"))
    running.event("reloaded", count=2)
    assert_runs_tasks(other)
    gate.touch()
    wait_until(lambda: other.left() == 0, "the end of the task")
    assert other.started("a") == other.ended("a") == held
    wait_until(lambda: len(pids_of(running, "two")) == 2, "one control and one worker")
    assert running.stop() == 0


def test_a_site_that_is_removed_while_a_task_runs_lets_the_daemon_stop(site, other, daemon, gate):
    other.queue("a")
    held = other.push("a", "hold", str(gate))
    running = start(daemon, site_table(site, "one"), site_table(other, "two"))
    wait_until(other.started, "the start of the task")
    hup(running, site_table(site, "one"))
    running.event("reloaded")
    assert running.stop(signal.SIGQUIT) == 0
    assert other.rows() == {held[0]: (0, None)}


def test_a_site_whose_pipe_command_changed_is_served_by_the_new_one(site, other, daemon):
    running = start(daemon, site_table(site))
    running.event("ready", count=2)
    hup(running, site_table(other))
    running.event("reloaded")
    assert_runs_tasks(other)
    running.event("gone", count=2, reason="reload")
    site.queue("a")
    ids = site.push("a", "empty")
    assert_runs_tasks(other, "r")
    assert site.rows() == {ids[0]: (0, None)}


def test_one_bad_site_keeps_the_whole_new_file_out(site, other, daemon, tmp_path):
    third = Site(tmp_path / "third.db", tmp_path / "third.log")
    third.queue("a")
    ids = third.push("a", "empty")
    running = start(daemon, site_table(site, "one"), site_table(other, "two"))
    running.event("ready", count=4)
    old = set(running.titles())
    hup(running, site_table(site, "one"), site_table("sleep 0.5; exit 3", "two"), site_table(third, "three"))
    assert running.event("reload_failed")["reason"].startswith("site two: ")
    wait_until(lambda: set(running.titles()) == old, "the end of all that was tried")
    assert third.rows() == {ids[0]: (0, None)}
    assert_runs_tasks(site)
    assert_runs_tasks(other)
    assert set(running.titles()) == old


@pytest.mark.parametrize("way", ["pipe,web", "web,pipe"])
def test_where_control_has_a_way_of_its_own_that_is_tried_too(tmp_path, daemon, way):
    with reached(tmp_path, way) as (php_site, table):
        running = start(daemon, table())
        running.event("ready", count=2)
        old = set(running.titles())
        (tmp_path / "wrong").mkdir()
        token = token_file(tmp_path / "wrong", "WRONG")
        wrong, reason = {
            "pipe,web": ({"pipe": "exit 3"}, "exit status 3"),
            "web,pipe": ({"web_token_file": str(token)}, "refuses the credential"),
        }[way]
        hup(running, table(**wrong))
        assert reason in running.event("reload_failed")["reason"]
        wait_until(lambda: set(running.titles()) == old, "the end of the canaries")
        assert_runs_tasks(php_site)
        hup(running, table())
        running.event("reloaded")
        wait_until(lambda: not old & set(running.titles()), "the end of the old generation")
        wait_until(lambda: len(running.titles()) == 2, "one control and one worker")
        assert_runs_tasks(php_site, "r")
        assert not running.events("boot_failed")


def test_a_site_that_is_down_already_has_no_veto(site, daemon):
    running = start(daemon, site_table(site, "one"), site_table("exit 3", "two"))
    running.event("site_down", site="two")
    running.event("ready", count=2)
    old = pids_of(running, "one")
    hup(running, site_table(site, "one"), site_table("exit 3", "two"))
    running.event("reloaded")
    wait_until(lambda: len(pids_of(running, "one")) == 2 and not old & pids_of(running, "one"), "new workers")
    assert_runs_tasks(site)


def test_a_site_that_is_down_is_repaired_by_a_reload(site, other, daemon):
    running = start(daemon, site_table(site, "one"), site_table("exit 3", "two"))
    running.event("site_down", site="two")
    hup(running, site_table(site, "one"), site_table(other, "two"))
    running.event("site_up", site="two")
    assert_runs_tasks(other)


def test_a_site_that_is_added_to_a_quiet_daemon_claims_nothing_until_it_goes_on(site, other, daemon):
    other.queue("a")
    ids = other.push("a", "empty", times=3)
    running = start(daemon, site_table(site, "one"))
    running.event("ready", count=2)
    running.send(signal.SIGTSTP)
    running.event("quiet")
    hup(running, site_table(site, "one"), site_table(other, "two"))
    running.event("reloaded")
    running.event("ready", count=2, site="two")
    assert other.rows() == dict.fromkeys(ids, (0, None))
    running.send(signal.SIGCONT)
    wait_until(lambda: other.left() == 0, "the tasks")
    assert run_once(other, ids)


def test_a_site_that_came_back_is_not_mistaken_for_the_one_that_still_leaves(site, other, daemon, gate):
    other.queue("a", retry_limit=1)
    held = other.push("a", "hold", str(gate))
    running = start(daemon, site_table(site, "one"), site_table(other, "two"))
    wait_until(other.started, "the start of the task")
    old = [e["pid"] for e in running.events("ready", site="two")]
    hup(running, site_table(site, "one"))
    running.event("reloaded")
    hup(running, site_table(site, "one"), site_table(other, "two"))
    running.event("ready", count=4, site="two")
    for pid in old:  # the claim of the worker must be settled, by another control than the new site's
        os.kill(pid, signal.SIGKILL)
    assert running.event("settled", site="two")["item"] == held[0]
    gate.touch()
    wait_until(lambda: other.left() == 0, "the end of the task")
    assert_runs_tasks(other)
    wait_until(lambda: len(pids_of(running, "two")) == 2, "one control and one worker")
    assert other.ended("a") == held
    assert running.stop() == 0
