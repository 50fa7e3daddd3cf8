"""A site that cannot be reached: the daemon says why, claims nothing, and recovers alone."""

import os
import re
import signal
from datetime import datetime
from signal import SIGKILL

import psutil
import pytest
from support.daemon import wait_until
from support.evidence import run_once, seconds
from support.tables import settings, site_table

BROKEN = [
    ("/nowhere/cv pipe vtl", ["/nowhere/cv", "exit status 127", "not found"]),
    ("echo the disk is gone >&2; exit 3", ["exit status 3", "stderr: the disk is gone"]),
    ("echo once; echo Fatal error: no memory; exit 255", ["exit status 255", "stdout:", "no memory"]),
    ("yes $(seq 99)", ["something else than a welcome", "stdout:", "97 98 99 1 2 3"]),
    ("sleep 600", ["no welcome in time"]),
    ('echo \'{"Civi::pipe":{"v":"5.40.0","t":"trusted"}}\'; cat', ["5.40.0 is too old", "5.51"]),
    ('echo \'{"Civi::pipe":{"v":"6.13.3","u":"untrusted"}}\'; cat', ["not trusted"]),
    ("echo '{\"Civi::pipe\":null}'; cat", ["names no version"]),
]


@pytest.mark.parametrize(("command", "words"), BROKEN)
def test_a_boot_that_fails_is_told_with_command_exit_and_last_words(daemon, command, words):
    limit = 0.5 if command == "sleep 600" else 20
    running = daemon(settings(site_table(command), count=1, boot_timeout=limit), wait=None)
    failed = running.event("boot_failed")
    assert all(word in failed["reason"] for word in [repr(command), *words])
    assert failed["level"] == "error"
    assert failed["retry_seconds"] > 0
    assert running.stop() == 0


def test_an_untrusted_site_is_refused_and_nothing_is_claimed(site, daemon):
    site.queue("a")
    ids = site.push("a", "empty", times=2)
    running = daemon(settings(site_table(site.command(flags="vu")), count=1), wait=None)
    assert "not trusted" in running.event("site_down")["reason"]
    assert site.rows("a") == dict.fromkeys(ids, (0, None))


def test_boots_that_fail_are_spaced_out_and_after_three_the_site_is_down(daemon):
    running = daemon(settings(site_table("exit 3"), count=1), wait=None)
    running.event("boot_failed", failures=4)
    failed = [running.events("boot_failed", failures=n)[0] for n in (1, 2, 3, 4)]
    times = [seconds(e) for e in failed]
    assert times[2] - times[1] >= 0.7
    assert 1.4 <= times[3] - times[2] <= 5.0
    (down,) = running.events("site_down")
    assert times[2] <= seconds(down) <= times[3]
    assert down["level"] == "critical"
    assert "exit status 3" in down["reason"]
    assert running.stop() == 0


def master_title(running):
    return " ".join(psutil.Process(running.pid).cmdline()).rstrip("\0 ")


def test_the_masters_title_says_which_site_is_down_since_when_and_why_until_it_is_back(
    site, other, daemon, switch
):
    file, command = switch
    running = daemon(settings(site_table(other, "fine"), site_table(command, "broken"), count=1), wait=None)
    running.event("ready", site="broken", count=2)
    plain = master_title(running)
    assert plain == f"coworker: master [{running.file}]"
    file.unlink()
    for pid, title in running.titles().items():
        if "broken" in title:
            os.kill(pid, signal.SIGKILL)
    down = running.event("site_down", site="broken")
    wait_until(lambda: master_title(running) != plain, "the title tells")
    told = re.fullmatch(re.escape(plain) + r"  broken down since (\S+): (.+)", master_title(running))
    assert abs(datetime.fromisoformat(told[1]).timestamp() - seconds(down)) <= 2
    assert down["reason"].startswith(told[2])
    file.touch()
    running.event("site_up", site="broken")
    wait_until(lambda: master_title(running) == plain, "the title is as before")


@pytest.fixture
def switch(tmp_path, site):
    """A file, and a pipe command that works while it exists."""
    file = tmp_path / "works"
    file.touch()
    return file, f"test -e {file} || {{ echo site is broken >&2; exit 7; }}; {site.command()}"


def test_while_the_site_is_down_nobody_claims_and_it_recovers_alone(site, daemon, switch):
    file, command = switch
    running = daemon(settings(site_table(command), count=2))
    running.event("ready", count=3)
    file.unlink()
    victim, survivor = running.workers()
    os.kill(victim, SIGKILL)
    down = running.event("site_down")
    assert "site is broken" in down["reason"]
    site.queue("a")
    ids = site.push("a", "empty", times=4)
    file.touch()
    up = running.event("site_up")  # more than a second later
    assert up["down_seconds"] > 1
    running.event("task_done", count=4)
    assert seconds(running.events("task_done")[0]) >= seconds(up)
    assert not running.events("gone", pid=survivor)
    assert run_once(site, ids)
    wait_until(lambda: len(running.workers()) == 2, "the place is filled again")


def test_a_site_that_was_down_at_the_start_is_used_when_it_comes(site, daemon, switch):
    file, command = switch
    file.unlink()
    site.queue("a")
    ids = site.push("a", "empty", times=4)
    running = daemon(settings(site_table(command), count=2), wait=None)
    running.event("boot_failed", count=2)
    file.touch()
    running.event("task_done", count=4)
    assert run_once(site, ids)
    assert not running.events("site_down")


def test_a_worker_frozen_in_its_boot_does_not_keep_the_others_from_work(site, daemon, tmp_path):
    site.queue("a")
    once = tmp_path / "once"
    # Control boots beside the first worker; whoever comes second hangs.
    command = f"mkdir {once}.1 2>&- || mkdir {once}.2 2>&- && test -d {once}.2 && sleep 600; {site.command()}"
    ids = site.push("a", "nap", 0.01, times=20)
    running = daemon(settings(site_table(command), count=2, boot_timeout=4), wait=None)
    assert "no welcome in time" in running.event("boot_failed")["reason"]
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, ids)
    wait_until(lambda: len(running.workers()) == 2, "both workers are there")
    assert not running.events("site_down")


def test_one_site_that_is_down_does_not_disturb_another(site, daemon):
    site.queue("a")
    ids = site.push("a", "nap", 0.02, times=100)
    tables = site_table(site, "good"), site_table("exit 9", "bad")
    running = daemon(settings(*tables, count=2), wait=None)
    running.event("site_down", site="bad")
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, ids)
    assert not running.events("boot_failed", site="good")
