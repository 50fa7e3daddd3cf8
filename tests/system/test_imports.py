"""Imports run in the browser of who started them, unless CiviCRM is told otherwise (contract D5)."""

import time

import pytest
from support.daemon import wait_until
from support.evidence import repeated, run_once
from support.php_site import PhpSite
from support.tables import settings, site_table

IMPORT = {"type": "Sql", "error": "abort", "retry_limit": 5}


@pytest.fixture
def php(tmp_path):
    return PhpSite(tmp_path / "php", enableBackgroundQueue=0)


def table(php, **values):
    return site_table("MINIPIPE vtl", cwd=str(php.root), **values)


class Form:
    """The form that starts imports, and the browser that runs them."""

    def __init__(self, site):
        self.site = site
        self.jobs = {}

    def begin(self, number, times=3):
        """An import as the form leaves it: its queue is active. Its items' ids."""
        name = f"user_job_{number}"
        self.site.queue(name, **IMPORT)
        ids = self.site.push(name, "empty", times=times)
        self.jobs[str(number)] = None
        self.site.configure(user_jobs=self.jobs)
        return name, ids

    def note(self, number):
        """The job gets its queue's id."""
        self.jobs[str(number)] = f"user_job_{number}"
        self.site.configure(user_jobs=self.jobs)

    def run(self, name, ids):
        """The runner takes the queue over and runs its items, whether they are leased or not."""
        self.site.execute("UPDATE civicrm_queue SET status = NULL WHERE name = ?", name)
        for item in ids:
            with self.site.journal.open("a") as journal:
                journal.write(f"start {item} {name} browser 0\n")
            time.sleep(0.005)
            self.site.execute("DELETE FROM civicrm_queue_item WHERE id = ?", int(item))


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.3])
def test_an_import_in_the_browser_runs_once(php, daemon, delay):
    running = daemon(settings(table(php), count=2))
    form = Form(php)
    everything = []
    for number in range(1, 7):
        name, ids = form.begin(number)
        everything += ids
        time.sleep(delay)
        form.note(number)
        time.sleep(delay)
        form.run(name, ids)
    php.queue("a")
    mine = php.push("a", "empty", times=3)
    running.event("task_done", count=3)
    assert sorted(php.started(), key=int) == sorted([*everything, *mine], key=int)
    assert not repeated(php.started())


def test_an_import_that_nobody_runs_is_left_alone_and_that_is_said_once(php, daemon):
    form = Form(php)
    _, ids = form.begin(7)
    form.note(7)
    php.queue("a")
    mine = php.push("a", "empty", times=3)
    running = daemon(settings(table(php), count=2))
    running.event("task_done", count=3)
    assert run_once(php, mine)
    assert len(running.events("imports_left_alone")) == 1
    php.configure(enableBackgroundQueue=1)
    wait_until(lambda: php.left() == 0, "the import is run")
    assert run_once(php, [*ids, *mine])
    running.event("imports_taken")


def test_an_import_in_the_background_is_run_at_once(php, daemon):
    php.configure(enableBackgroundQueue=1)
    running = daemon(settings(table(php), count=2))
    _, ids = Form(php).begin(7)
    running.event("task_done", count=3)
    assert run_once(php, ids)
    assert not running.events("imports_left_alone")


def test_the_python_site_has_no_imports_and_nothing_waits(site, daemon):
    running = daemon(settings(site_table(site), count=2))
    site.queue("user_job_7", **IMPORT)
    ids = site.push("user_job_7", "empty", times=3)
    running.event("task_done", count=3)
    assert run_once(site, ids)
    assert not running.events("imports_left_alone")
