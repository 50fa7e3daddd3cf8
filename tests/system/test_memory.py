"""Memory: a pipe that grew is replaced after its batch, one that grew far too much is ended with its task."""

import os

import psutil
import pytest
from support.daemon import wait_until
from support.evidence import run_once
from support.processes import alive
from support.tables import settings, site_table

LIMITS = {"max_memory": 90, "hard_memory": 160}  # MiB; a pipe of the Python site takes about 30


def test_a_pipe_that_grew_is_replaced_after_its_batch_and_its_task_ends_well(site, daemon, gate):
    site.queue("a", batch_limit=1)
    site.queue("b")
    fat = site.push("a", "grow", 100, 1.2)
    running = daemon(settings(site_table(site), count=2, **LIMITS))
    grown = running.event("memory_grown")
    assert grown["mebibytes"] > LIMITS["max_memory"]
    running.event("gone", reason="max_memory")
    (pipe,) = {int(words[4]) for words in site.written()}
    thin = site.push("b", "empty", times=20)
    running.event("task_done", count=21)
    assert run_once(site, [*fat, *thin])
    assert str(pipe) not in {words[4] for words in site.written() if words[2] == "b"}
    assert {e["outcome"] for e in running.events("task_done")} == {"ok"}
    assert not running.events("settled")


def test_others_go_on_while_one_grows(site, daemon, gate):
    site.queue("a")
    site.queue("b")
    running = daemon(settings(site_table(site), count=2, **LIMITS))
    running.event("ready", count=3)
    site.push("a", "grow", 100, 600)
    wait_until(lambda: site.started("a"), "it grows")
    ids = site.push("b", "empty", times=50)
    running.event("task_done", count=50, queue="b")
    assert site.ended("b") == ids
    (left,) = site.rows("a")
    assert left in site.started("a")


@pytest.mark.parametrize("task", ["eat", "feed_a_child"])
def test_a_pipe_that_holds_far_too_much_is_killed_with_its_task_and_the_cause_is_named(site, daemon, task):
    site.queue("a", batch_limit=2, retry_limit=0, error="delete")
    (greedy,) = site.push("a", task, 250)
    others = site.push("a", "empty", times=5)
    running = daemon(settings(site_table(site), count=1, **LIMITS))
    lost = running.event("pipe_lost", cause="memory")
    assert lost["queue"] == "a"
    assert "hard_memory is 160" in lost["reason"]
    assert "hard_memory" in running.event("settled", item=greedy, fate="try_counted")["cause"]
    running.event("task_done", item=greedy, outcome="delete")
    running.event("task_done", count=6)
    assert site.started().count(greedy) == 1
    assert sorted(site.ended(), key=int) == others
    pipe = int(site.written()[0][4])
    assert not psutil.pid_exists(pipe) or not alive(psutil.Process(pipe))


def test_limits_of_zero_are_none(site, daemon):
    site.queue("a")
    ids = site.push("a", "grow", 100, 1.2)
    running = daemon(settings(site_table(site), count=1, max_memory=0, hard_memory=0))
    running.event("task_done", item=ids[0], outcome="ok")
    assert os.getpid() not in running.workers()
    assert not running.events("memory_grown")
