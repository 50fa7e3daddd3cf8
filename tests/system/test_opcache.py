"""A daemon whose PHP keeps its compiled code in state_dir."""

import os
import time

import pytest
from support.daemon import wait_until
from support.php_site import PhpSite, need
from support.tables import settings, site_table


@pytest.fixture
def php_site(tmp_path):
    need("php", "-r", "exit(extension_loaded('Zend OPcache') ? 0 : 1);", what="OPcache")
    site = PhpSite(tmp_path / "php")
    site.queue("a")
    for path in site.root.rglob("*.php"):  # OPcache keeps no file that was changed a moment ago
        os.utime(path, (time.time() - 3600,) * 2)
    return site


def work(daemon, site, **values):
    """Have a task run. Returns the daemon."""
    text = settings(site_table("MINIPIPE vtl", cwd=str(site.root), **values), count=2)
    running = daemon(text)
    site.push("a", "empty")
    wait_until(lambda: site.left() == 0, "the task is done")
    return running


def test_the_site_has_a_directory_in_state_dir_and_tasks_run(daemon, php_site):
    running = work(daemon, php_site)
    (cache,) = (running.folder / "state/opcache").iterdir()
    wait_until(lambda: list(cache.rglob("wp-load.php.bin")), "compiled code is kept")
    assert not running.events("no_opcache")


def test_opcache_false_keeps_nothing(daemon, php_site):
    running = work(daemon, php_site, opcache=False)
    assert not (running.folder / "state/opcache").exists()
    assert not running.events("no_opcache")


@pytest.mark.parametrize("trouble", ["no directory", "no OPcache"])
def test_where_there_can_be_none_work_goes_on_and_debug_says_why(
    daemon, php_site, tmp_path, monkeypatch, trouble
):
    state = tmp_path / "daemon0/state"
    state.mkdir(parents=True)
    if trouble == "no OPcache":
        monkeypatch.setenv("COWORKER_PHP", "php -d opcache.enable=0")
    else:
        (state / "opcache").write_text("")
    reason = "PHP has no OPcache" if trouble == "no OPcache" else "cannot be used: File exists"
    (event,) = work(daemon, php_site).events("no_opcache")
    assert reason in event["reason"]
