"""Everything stands still for a while (a paused container, a sleeping machine): nobody is late for it."""

import time
from contextlib import contextmanager, suppress
from signal import SIGCONT, SIGSTOP, SIGTERM

import psutil
from support.daemon import wait_until
from support.evidence import run_once
from support.php_site import PhpSite
from support.tables import settings, site_table

LONG = 4.0  # seconds, more than anything here may take


@contextmanager
def paused(running):
    """The master, its children and their pipes are stopped meanwhile."""
    everybody = [psutil.Process(running.pid), *running.tree()]
    for number in (SIGSTOP, SIGCONT):
        for process in everybody:
            with suppress(psutil.NoSuchProcess):  # it was just leaving
                process.send_signal(number)
        if number == SIGSTOP:
            yield


def test_a_task_does_not_pay_for_a_pause(site, daemon, gate):
    site.queue("a", batch_limit=2, retry_limit=0, error="delete")
    ids = site.push("a", "hold", str(gate)) + site.push("a", "empty")
    running = daemon(settings(site_table(site), count=1, task_timeout=3))
    wait_until(site.started, "it runs")
    with paused(running):
        time.sleep(LONG)
    running.event("paused")
    gate.touch()
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, ids)
    assert not running.events("overdue")


def test_a_boot_does_not_pay_for_a_pause(tmp_path, daemon):
    php = PhpSite(tmp_path / "php", boot_seconds=1.5)
    table = site_table("MINIPIPE vtl", cwd=str(php.root))
    running = daemon(settings(table, count=1, boot_timeout=3), wait="started")
    wait_until(lambda: len(running.tree()) >= 4, "the pipes are started")
    with paused(running):
        time.sleep(LONG)
    running.event("ready", count=2)
    assert not running.events("boot_failed")


def test_a_stop_waits_for_tasks_as_long_as_without_a_pause(site, daemon, gate):
    site.queue("a", retry_limit=0, error="delete")
    ids = site.push("a", "hold", str(gate))
    text = settings(site_table(site), count=1)
    running = daemon(text)
    running.file.write_text(
        running.file.read_text().replace("[coworker]", "[coworker]\ngraceful_timeout = 3")
    )
    running.send(1)
    running.event("reloaded")
    wait_until(site.started, "it runs")
    running.send(SIGTERM)
    running.event("stopping")
    with paused(running):
        time.sleep(LONG)
    running.event("paused")
    gate.touch()
    assert running.process.wait(30) == 0
    assert run_once(site, ids)
    assert not running.events("halting")
