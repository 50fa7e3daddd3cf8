"""The site's clock is set while tasks run: their leases are known all the same (rule 3)."""

import os
from datetime import datetime
from signal import SIGKILL

import pytest
from support.daemon import wait_until
from support.php_site import PhpSite
from support.tables import settings, site_table


@pytest.fixture
def php(tmp_path):
    site = PhpSite(tmp_path / "php")
    site.queue("a", batch_limit=2, retry_limit=0, error="delete")
    return site


def commands(php):
    """With the notes of MINIPIPE, and without them."""
    return {"MINIPIPE": "MINIPIPE vtl", "any other": php.pipe_command()}


@pytest.mark.parametrize("way", ["MINIPIPE", "any other"])
@pytest.mark.parametrize("step", [-30, -3, 3, 30, 3000])
def test_a_claim_is_known_though_the_clock_was_set(php, daemon, gate, way, step):
    held, later = (php.push("a", *task)[0] for task in (("hold", str(gate)), ("empty",)))
    running = daemon(settings(site_table(commands(php)[way], cwd=str(php.root)), count=1))
    wait_until(lambda: held in php.started(), "it runs")
    if way != "MINIPIPE":
        known = php.rows("a")[held][1]
        wait_until(lambda: shows(running, known), "control has read when the lease ends")
    php.configure(clock_offset=step)
    os.kill(int(php.written()[0][4]), SIGKILL)
    running.event("settled", count=2)
    fates = {event["item"]: event["fate"] for event in running.events("settled")}
    assert fates == {held: "try_counted", later: "given_back"}
    wait_until(lambda: php.left() == 0, "all items gone")
    assert php.started() == [held, later]


def shows(running, release_time):
    """Whether the daemon has noted the end of a lease, for a start after a KILL as well."""
    checkpoint = running.folder / "state/claims/site-example.claims"
    text = datetime.fromtimestamp(release_time).isoformat(" ", "seconds")
    return checkpoint.exists() and text in checkpoint.read_text()


@pytest.mark.parametrize("step", [-30, 30])
def test_a_start_after_a_kill_knows_its_claims_though_the_clock_was_set(php, daemon, gate, step):
    held, later = (php.push("a", *task)[0] for task in (("hold", str(gate)), ("empty",)))
    first = daemon(settings(site_table("MINIPIPE vtl", cwd=str(php.root)), count=1))
    wait_until(lambda: held in php.started(), "it runs")
    php.configure(clock_offset=step)
    first.kill_all()
    second = daemon(settings(site_table("MINIPIPE vtl", cwd=str(php.root)), count=1), share=first)
    second.event("settled", count=2)
    fates = {event["item"]: event["fate"] for event in second.events("settled")}
    assert fates == {held: "try_counted", later: "given_back"}


@pytest.mark.parametrize("step", [-30, 30])
def test_a_claim_that_is_younger_than_a_second_is_known_by_the_step(php, daemon, gate, step):
    """Control has seen the clock before, and sees it again when it settles."""
    running = daemon(settings(site_table(php.pipe_command(), cwd=str(php.root)), count=1))
    running.event("ready", count=2)
    held, later = (php.push("a", *task)[0] for task in (("hold", str(gate)), ("empty",)))
    wait_until(lambda: held in php.started(), "it runs")
    php.configure(clock_offset=step)
    os.kill(int(php.written()[0][4]), SIGKILL)
    running.event("settled", count=2)
    fates = {event["item"]: event["fate"] for event in running.events("settled")}
    assert fates == {held: "try_counted", later: "given_back"}
