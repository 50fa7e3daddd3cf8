"""Deployments that switch a link to a new release and delete the old one: what is old claims nothing more."""

import os
import shutil
import signal
import time

import pytest
from support.daemon import wait_until
from support.evidence import run_once, seconds
from support.one_worker import OneWorker
from support.php_site import PhpSite
from support.releases import Releases
from support.tables import settings, site_table

from coworker.ipc import messages as m
from coworker.model import QueueInfo

WORKERS = 2
TASKS = 240


@pytest.fixture(params=["python", "php"])
def releases(request, site, tmp_path):
    """Releases of a site of either kind, with its command."""
    if request.param == "python":
        made = Releases(tmp_path / "releases", site)
        made.command = site.command()
    else:
        php = PhpSite(tmp_path / "php")
        made = Releases(tmp_path / "releases", php, lambda path: shutil.copytree(php.root, path))
        made.command = "MINIPIPE vtl"
    made.site.queue("a")
    return made


@pytest.fixture
def of_python(site, tmp_path):
    """Releases of a Python site."""
    site.queue("a")
    made = Releases(tmp_path / "releases", site)
    made.command = site.command()
    return made


def table(releases, **values):
    return site_table(releases.command, cwd=str(releases.current), **values)


def nothing_old(releases):
    """Whether after each switch only what was claimed by then began with another release than the newest."""
    newest = len(releases.started())
    parts = enumerate(releases.started(), start=1)
    return all(sum(v != str(n) for v in part) <= WORKERS for n, part in parts if n == newest)


def all_well(running, ids):
    done = running.events("task_done")
    return {e["outcome"] for e in done} == {"ok"} and len(done) == len(ids)


def test_a_release_is_switched_while_work_waits_and_the_old_one_is_deleted(daemon, releases):
    ids = releases.site.push("a", "released", 0.01, times=TASKS)
    running = daemon(settings(table(releases), count=WORKERS))
    releases.wait_for("1", wait_until, 20)
    releases.lay("2")
    releases.switch("2")
    releases.wait_for("2", wait_until)
    releases.delete("1")
    running.event("task_done", count=TASKS)
    assert all_well(running, ids)
    assert run_once(releases.site, ids)
    assert nothing_old(releases)
    wait_until(lambda: len(running.events("gone", reason="reload")) >= WORKERS, "the old are gone")
    assert len(running.events("renewing")) == 1
    assert not running.events("site_held"), "what comes at once needs no wait until it is complete"


def test_two_releases_that_follow_each_other_closely_end_with_the_second(daemon, releases):
    ids = releases.site.push("a", "released", 0.01, times=TASKS)
    running = daemon(settings(table(releases), count=WORKERS))
    releases.wait_for("1", wait_until, 20)
    releases.lay("2")
    releases.lay("3")
    releases.switch("2")
    running.event("renewing")
    releases.switch("3")
    releases.wait_for("3", wait_until)
    releases.delete("1")
    releases.delete("2")
    running.event("task_done", count=TASKS)
    assert all_well(running, ids)
    assert nothing_old(releases)


def test_a_release_that_does_not_boot_claims_nothing_and_heals_when_it_is_mended(daemon, of_python):
    site = of_python.site
    of_python.command = f"[ -e broken ] && exit 3; {of_python.command}"
    ids = site.push("a", "released", 0.01, times=TASKS)
    running = daemon(settings(table(of_python), count=WORKERS))
    of_python.wait_for("1", wait_until, 20)
    broken = of_python.lay("2") / "broken"
    broken.touch()
    of_python.switch("2")
    running.event("site_down")
    begun = len(site.started())
    assert nothing_old(of_python)
    running.event("boot_failed", count=4)
    assert len(site.started()) == begun
    assert not [row for row in site.rows().values() if row != (0, None)], (
        "nothing was claimed, and no try lost"
    )
    broken.unlink()
    running.event("site_up")
    running.event("task_done", count=TASKS)
    assert all_well(running, ids)
    assert set(of_python.started()[-1]) <= {"1", "2"}
    assert nothing_old(of_python)


def test_a_release_that_does_not_boot_is_taken_back(daemon, of_python):
    of_python.command = f"[ -e broken ] && exit 3; {of_python.command}"
    ids = of_python.site.push("a", "released", 0.01, times=TASKS)
    running = daemon(settings(table(of_python), count=WORKERS))
    of_python.wait_for("1", wait_until, 20)
    (of_python.lay("2") / "broken").touch()
    of_python.switch("2")
    running.event("boot_failed")
    of_python.switch("1")
    running.event("task_done", count=TASKS)
    assert all_well(running, ids)


def test_a_link_that_is_away_for_a_moment_harms_nothing(daemon, of_python):
    """`rm current; ln -s new current` has a gap in which there is no site."""
    ids = of_python.site.push("a", "released", 0.01, times=TASKS)
    running = daemon(settings(table(of_python), count=WORKERS))
    of_python.wait_for("1", wait_until, 20)
    of_python.lay("2")
    of_python.current.unlink()
    running.event("boot_failed")
    of_python.switch("2")
    running.event("task_done", count=TASKS)
    assert all_well(running, ids)
    assert nothing_old(of_python)


def test_idle_workers_are_replaced_before_there_is_work(daemon, of_python):
    running = daemon(settings(table(of_python), count=1))
    running.event("ready", count=2)
    of_python.lay("2")
    of_python.switch("2")
    running.event("ready", count=4)
    of_python.delete("1")
    (item,) = of_python.site.push("a", "released", 0)
    running.event("task_done", item=item, outcome="ok")
    assert of_python.started()[-1] == ["2"]


def test_started_inside_the_link_without_cwd_a_site_survives_its_release(daemon, of_python):
    ids = of_python.site.push("a", "released", 0.01, times=TASKS)
    inside = ["sh", "-c", 'cd "$0" && exec "$@"', str(of_python.current)]
    text = settings(site_table(of_python.command), count=WORKERS)
    running = daemon(text, prefix=inside, environment={"PWD": os.environ.get("PWD", "/")})
    of_python.wait_for("1", wait_until, 20)
    of_python.lay("2")
    of_python.switch("2")
    of_python.wait_for("2", wait_until)
    of_python.delete("1")
    running.event("task_done", count=TASKS)
    assert all_well(running, ids)
    assert nothing_old(of_python)
    running.send(signal.SIGHUP)
    running.event("reloaded")
    (item,) = of_python.site.push("a", "released", 0)
    running.event("task_done", item=item, outcome="ok")


def test_watch_code_false_goes_on_with_the_old_release(daemon, of_python):
    ids = of_python.site.push("a", "released", 0.01, times=60)
    running = daemon(settings(table(of_python, watch_code=False), count=WORKERS))
    of_python.wait_for("1", wait_until, 5)
    of_python.lay("2")
    of_python.switch("2")
    running.event("task_done", count=len(ids))
    assert not running.events("renewing")


def test_files_that_change_in_place_are_noticed_soon_and_until_they_rest_nobody_claims(daemon, tmp_path):
    php = PhpSite(tmp_path / "php")
    php.queue("a")
    ids = php.push("a", "nap", 0.02, times=400)
    running = daemon(settings(site_table("MINIPIPE vtl", cwd=str(php.root)), count=WORKERS))
    wait_until(lambda: len(php.started()) >= 20, "work is under way")
    old = {words[4] for words in php.written()}
    changed = time.time()
    (php.root / "wp-content/uploads/civicrm/ext/one/info.xml").write_text("<extension version='2'/>")
    held = running.event("site_held")
    assert "its code is being changed" in held["reason"]
    assert seconds(held) - changed < 5, "a glance each second, not each ten"
    wait_until(lambda: len(php.started()) == len(php.ended()), "what was claimed has ended")
    begun = len(php.started())
    running.event("site_free")
    running.event("task_done", count=len(ids))
    later = [words for words in php.written() if words[0] == "start"][begun:]
    assert len(later) > 100
    assert not old & {words[4] for words in later}
    assert run_once(php, ids)


def test_handed_items_that_meet_an_old_release_are_handed_on(of_python, tmp_path):
    (item,) = of_python.site.push("a", "released", 0)
    worker = OneWorker(of_python.command, tmp_path, of_python.current)
    try:
        worker.until(m.Ready)
        of_python.lay("2")
        of_python.switch("2")
        worker.link.send(m.Run("7.1", QueueInfo("a"), [], [[None, None, [item]]]))
        reports = worker.until(m.Idle)
        assert m.HandedOff("7.1", [item]) in reports
        assert reports[-1] == m.Idle("a", "moved")
        worker.link.send(m.Work(QueueInfo("a"), 1.0))
        reports = worker.until(m.Idle)
        assert reports == [m.CodeMoved(str(of_python.current)), m.Idle("a", "moved")]
        assert of_python.site.rows() == {item: (0, None)}
    finally:
        worker.end()
