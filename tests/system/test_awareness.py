"""A site that is being upgraded, is in maintenance, is a copy, or has new code: over real PHP."""

import shutil
import time
from pathlib import Path

import psutil
import pytest
from support.daemon import wait_until
from support.php_site import PhpSite
from support.tables import settings, site_table

FAST = """
from coworker.child import site_probe
from coworker.policy import site_health
site_probe.PROBE_EVERY = site_health.CODE_STABLE_AFTER = 0.2
site_health.FRESH_EVERY = site_health.FRESH_WHILE_HELD = 0.5
"""


@pytest.fixture
def quickly(tmp_path):
    """The environment in which the daemon's looks at the site come soon after each other."""
    folder = tmp_path / "fast"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(FAST)
    return {"PYTHONPATH": str(folder)}


@pytest.fixture
def site(tmp_path):
    site = PhpSite(tmp_path / "php")
    site.queue("a")
    return site


def table(site, **values):
    return site_table("MINIPIPE vtl", cwd=str(site.root), **values)


def untouched(site, seconds=1.0):
    """Whether nothing is claimed for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if any(row != (0, None) for row in site.rows().values()):
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("bad", "good", "says"),
    [
        ({"core_maintenance_mode": 1}, {"core_maintenance_mode": 0}, "the site is in maintenance mode"),
        ({"database_version": "6.12.0"}, {"database_version": None}, "an upgrade of the site is pending"),
        ({"environment": "Staging"}, {"environment": "Production"}, "environment is Staging, not Production"),
    ],
)
def test_nothing_is_claimed_while_something_speaks_against_it(daemon, site, quickly, bad, good, says):
    site.configure(**bad)
    site.push("a", "empty", times=3)
    running = daemon(settings(table(site)), environment=quickly)
    assert says in running.event("site_held")["reason"]
    assert untouched(site)
    assert says in " ".join(psutil.Process(running.pid).cmdline())
    site.configure(**good)
    wait_until(lambda: site.left() == 0, "it goes on")
    running.event("site_free")
    assert len(running.events("site_held")) == 1
    site.configure(**bad)
    running.event("site_held", count=2)
    site.push("a", "empty")
    assert untouched(site)


def test_a_copy_may_be_worked_if_it_is_said_so(daemon, site):
    site.configure(environment="Development")
    site.push("a", "empty", times=3)
    running = daemon(settings(table(site, allow_non_production=True)))
    wait_until(lambda: site.left() == 0, "its work is done")
    assert not running.events("site_held")


def test_a_task_that_runs_when_maintenance_begins_comes_to_its_end(daemon, site, quickly, gate):
    (held,) = site.push("a", "hold", str(gate))
    running = daemon(settings(table(site), count=1), environment=quickly)
    wait_until(lambda: site.started() == [held], "it runs")
    rest = site.push("a", "empty", times=3)
    site.configure(core_maintenance_mode=1)
    running.event("site_held")
    gate.touch()
    wait_until(lambda: site.ended() == [held], "it ends")
    assert untouched(site)
    site.configure(core_maintenance_mode=0)
    wait_until(lambda: site.left() == 0, "it goes on")
    assert site.started() == [held, *rest]


def pipes(running):
    return {int(e["pid"]) for e in running.events("ready") if "worker" in e}


@pytest.mark.parametrize("what", ["extension", "core", "link"])
def test_all_workers_are_replaced_once_when_the_code_changes(daemon, site, quickly, what):
    link = site.directory / "current"
    link.symlink_to(site.root)
    running = daemon(
        settings(site_table("MINIPIPE vtl", cwd=str(link)), count=2, idle_timeout=0, min_idle=2),
        environment=quickly,
    )
    running.event("ready", count=3)
    before = pipes(running)
    if what == "extension":
        (site.root / "wp-content/uploads/civicrm/ext/one/info.xml").write_text("<extension version='2'/>")
    elif what == "core":
        (site.root / "wp-content/plugins/civicrm/civicrm/civicrm-version.php").write_text("<?php // 6.14\n")
    else:
        new = Path(f"{link}.new")
        new.symlink_to(shutil.copytree(site.root, site.directory / "release2"))
        new.replace(link)
    running.event("replacing")
    wait_until(lambda: len(pipes(running) - before) >= len(before), "new workers")
    site.push("a", "empty", times=5)
    wait_until(lambda: site.left() == 0, "work goes on")
    wait_until(
        lambda: before <= {e["pid"] for e in running.events("gone", reason="reload")}, "the old are gone"
    )
    assert len(running.events("replacing")) == 1


def test_watch_code_false_lets_them_be(daemon, site, quickly):
    running = daemon(settings(table(site, watch_code=False), count=1), environment=quickly)
    (site.root / "wp-content/uploads/civicrm/ext/one/info.xml").write_text("<extension version='2'/>")
    site.configure(core_maintenance_mode=1)
    running.event("site_held")  # control has looked since
    assert not running.events("replacing")
