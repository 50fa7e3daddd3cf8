"""One daemon, several sites."""

import pytest
from support.daemon import wait_until
from support.evidence import run_once
from support.site import Site
from support.tables import settings, site_table


@pytest.fixture
def other(tmp_path):
    return Site(tmp_path / "other.db", tmp_path / "other.log")


def test_each_site_has_its_own_control_workers_and_tasks(site, other, daemon):
    site.queue("a")
    other.queue("a")
    mine, theirs = site.push("a", "empty", times=30), other.push("a", "empty", times=20)
    tables = site_table(site, "one"), site_table(other, "two", workers={"count": 1})
    running = daemon(settings(*tables, count=2))
    wait_until(lambda: site.left() == other.left() == 0, "all items gone")
    running.event("task_done", count=50)
    assert run_once(site, mine)
    assert run_once(other, theirs)
    assert len(running.events("task_done", site="one")) == 30
    assert len(running.events("task_done", site="two")) == 20
    wait_until(lambda: len(running.workers()) == 3, "three workers in all")
    assert sum(" one" in title for title in running.titles().values()) == 3
    assert running.stop() == 0


def test_tasks_that_hold_one_site_do_not_hold_the_other(site, other, daemon, tmp_path):
    gate = tmp_path / "gate"
    site.queue("a")
    other.queue("a")
    held = site.push("a", "hold", str(gate), times=5)
    running = daemon(settings(site_table(site, "one"), site_table(other, "two"), count=1))
    wait_until(site.started, "the first site is busy")
    quick = other.push("a", "empty", times=20)
    running.event("task_done", count=20, site="two")
    assert run_once(other, quick)
    assert len(site.started()) == 1
    gate.touch()
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, held)
