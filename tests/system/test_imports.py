"""Imports run in the browser of who started them, unless CiviCRM is told otherwise (contract D5)."""

import signal
import time

import pytest
from support.daemon import wait_until
from support.evidence import most_at_once, repeated, run_once
from support.php_site import PhpSite
from support.tables import settings, site_table, table

IMPORT = {"type": "Sql", "error": "abort", "retry_limit": 5}


@pytest.fixture
def php(tmp_path):
    return PhpSite(tmp_path / "php", enableBackgroundQueue=0)


def own(php, **values):
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
    running = daemon(settings(own(php), count=2))
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
    running = daemon(settings(own(php), count=2))
    running.event("task_done", count=3)
    assert run_once(php, mine)
    assert len(running.events("imports_left_alone")) == 1
    php.configure(enableBackgroundQueue=1)
    wait_until(lambda: php.left() == 0, "the import is run")
    assert run_once(php, [*ids, *mine])
    running.event("imports_taken")


def test_an_import_in_the_background_is_run_at_once(php, daemon):
    php.configure(enableBackgroundQueue=1)
    running = daemon(settings(own(php), count=2))
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


def rule(pattern, **values):
    """The settings of queues of this name."""
    return table(f'sites."example".queues."{pattern}"', values)


def begin(site, names=("user_job_1", "user_job_2"), **more):
    """Two imports at the same time, in the background."""
    for name in names:
        site.queue(name, **IMPORT)
    return [each for name in names for each in site.push(name, "nap", 0.005, times=60, **more)]


@pytest.mark.parametrize("rules", [[], [rule("*", concurrency=4)], [rule("user_job_1", weight=3)]])
def test_imports_never_run_side_by_side_and_others_use_the_rest(site, daemon, rules):
    ids = begin(site)
    site.queue("beside")
    beside = site.push("beside", "nap", 0.005, times=120)
    running = daemon(settings(site_table(site), *rules, count=4, boot_budget=4))
    running.event("task_done", count=240)
    written = [words for words in site.written() if words[2] != "beside"]
    assert most_at_once(written) == 1
    assert most_at_once(site.written()) > 1
    assert run_once(site, [*ids, *beside])


def test_imports_take_turns(site, daemon):
    ids = begin(site)
    running = daemon(settings(site_table(site), count=2, slice=0.05))
    running.event("task_done", count=120)
    first = [words[2] for words in site.written() if words[0] == "start"][:80]
    assert set(first) == {"user_job_1", "user_job_2"}
    assert run_once(site, ids)


def test_who_says_so_has_two_imports_side_by_side_and_never_three(site, daemon, gate):
    names = ("user_job_1", "user_job_2", "user_job_3")
    for name in names:
        site.queue(name, **IMPORT)
    held = [each for name in names for each in site.push(name, "hold", str(gate), times=2)]
    two = rule("user_job_*", concurrency_total=2)
    running = daemon(settings(site_table(site), two, count=4, boot_budget=4))
    running.event("ready", count=5)
    wait_until(lambda: len(site.started()) == 2, "two run at once")
    site.queue("beside")
    (beside,) = site.push("beside", "empty")
    running.event("task_done", item=beside)
    assert len(site.started()) == 3, "another's turn came, and not the third import's"
    gate.touch()
    running.event("task_done", count=7)
    assert most_at_once([words for words in site.written() if words[2] != "beside"]) == 2
    assert run_once(site, [*held, beside])


def test_a_limit_over_queues_of_any_pattern_holds_for_items_of_several_contacts(site, daemon):
    """Most of these are claimed by one worker and handed to another."""
    site.contact(100), site.contact(101)
    ids = []
    for name in ("mail/a", "mail/b"):
        site.queue(name, batch_limit=3)
        for contact in (100, 101, 100, None, 101, 100) * 3:
            ids += site.push(name, "nap", 0.005, run_as=contact)
    one = rule("mail/*", concurrency_total=1)
    running = daemon(settings(site_table(site), one, count=4, boot_budget=4))
    running.event("task_done", count=36)
    assert most_at_once(site.written()) == 1
    assert run_once(site, ids)


def test_a_reload_gives_and_takes_the_limit(site, daemon, gate):
    names = ("user_job_1", "user_job_2")
    for name in names:
        site.queue(name, **IMPORT)
        site.push(name, "hold", str(gate), times=20)
    text = settings(site_table(site), count=2, boot_budget=2)
    running = daemon(text)
    wait_until(site.started, "one runs")
    running.configure(settings(site_table(site), rule("user_job_*", concurrency_total=0), count=2))
    running.send(signal.SIGHUP)
    wait_until(lambda: len(site.started()) == 2, "both run")
    running.configure(text)
    running.send(signal.SIGHUP)
    running.event("reloaded", count=2)
    gate.touch()
    running.event("task_done", count=40)
    assert most_at_once(site.written()[4:]) == 1, "but for the two that were held"
