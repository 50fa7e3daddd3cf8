"""`coworker doctor` against set-ups that are broken on purpose, and one that is not."""

import json
import os
import subprocess
import sys

import pytest
from support.php_site import PhpSite
from support.starting import environment, root_only
from support.tables import settings, site_table
from support.ways import ADDRESS, reached, token_file

OK, WARNING, BAD = "ok", "warning", "bad"


def doctor(tmp_path, text, *arguments, **environ):
    """(exit status, {(check, mark): text and advice})."""
    file = tmp_path / "coworker.toml"
    head = f'[coworker]\nrun_dir = "{tmp_path}/run"\nstate_dir = "{tmp_path}/state"\n'
    file.write_text(head + text if "[coworker]" not in text else text)
    done = subprocess.run(
        [sys.executable, "-m", "coworker", "doctor", "-c", str(file), "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(**environ),
        check=False,
    )
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    assert answer["ok"] is (done.returncode == 0)
    found = {}
    for each in answer["findings"]:
        key = each["check"], each["mark"]
        found[key] = f"{found.get(key, '')}{each['text']} → {each['advice']}\n"
    return done.returncode, found


def check(tmp_path, site, *arguments, pipe="MINIPIPE vtl", environ=None, **values):
    text = settings(site_table(pipe, cwd=str(site.root), **values))
    return doctor(tmp_path, text, *arguments, **(environ or {}))


def test_a_site_that_is_as_it_should_be_has_no_hindrance(tmp_path):
    site = PhpSite(tmp_path / "php")
    site.queue("a")
    status, found = check(tmp_path, site)
    assert status == 0
    assert not [key for key in found if key[1] != OK and key[0] != "user"]
    assert {"boot", "welcome", "authx", "queues", "claim", "call", "clock", "LOCK TABLES"} <= {
        k for k, _ in found
    }
    assert found["concurrency_total", OK].startswith("user_job_*: 1 worker at most on all of them together")
    assert site.rows() == {}


SITES = {
    "disabled": ({"boot_fatal": True}, {}, ("boot", BAD), "does not boot: Call to undefined function"),
    "old": ({"version": "5.49.0"}, {}, ("boot", BAD), "CiviCRM 5.49.0 is too old, 5.51 is needed"),
    "untrusted": ({}, {"pipe": "MINIPIPE v"}, ("boot", BAD), "start it with the flags vtl"),
    "no command": ({}, {"pipe": "no-such-cv pipe vtl"}, ("command", BAD), "no-such-cv is not found in PATH"),
    "no php": ({}, {"environ": {"COWORKER_PHP": "php5"}}, ("command", BAD), "MINIPIPE vtl needs php5"),
    "no authx": ({"authx": False}, {}, ("authx", BAD), "enable the extension authx"),
    "maintenance": ({"core_maintenance_mode": 1}, {}, ("state", BAD), "maintenance mode"),
    "copy": ({"environment": "Staging"}, {}, ("state", BAD), "allow_non_production"),
    "upgrade": ({"database_version": "6.12.0"}, {}, ("state", BAD), "an upgrade of the site is pending"),
    "paused": ({"queue_paused": 1}, {}, ("queue_paused", WARNING), "claims come back empty"),
    "browser": (
        {"enableBackgroundQueue": 0},
        {},
        ("enableBackgroundQueue", WARNING),
        "their queues are left alone",
    ),
    "no lock": ({"grants": ["GRANT SELECT ON x.*"]}, {}, ("LOCK TABLES", BAD), "no claim would work"),
    "claims fail": ({"claim_error": "DB Error: lock"}, {}, ("claim", BAD), "is refused: DB Error: lock"),
    "before 6.4": (
        {"version": "5.77.0", "queue_item": False},
        {"pipe": "{boot}"},
        ("QueueItem API", WARNING),
        "stays leased",
    ),
    "little memory": (
        {},
        {"environ": {"COWORKER_PHP": "php -d memory_limit=64M"}},
        ("memory_limit", WARNING),
        "memory_limit 64M",
    ),
}


@pytest.mark.parametrize("name", SITES)
def test_what_is_wrong_with_a_site_is_found(tmp_path, name):
    config, how, key, says = SITES[name]
    site = PhpSite(tmp_path / "php", **config)
    site.queue("a")
    how = {**how, "pipe": site.command()} if how.get("pipe") == "{boot}" else how
    status, found = check(tmp_path, site, **how)
    assert says in found[key]
    assert status == (1 if any(mark == BAD for _, mark in found) else 0)
    if key[1] == BAD:
        assert status == 1


def test_a_boot_with_and_without_compiled_code(tmp_path):
    site = PhpSite(tmp_path / "php")
    assert "a boot takes 0." in check(tmp_path, site)[1]["opcache", OK]
    without = {"COWORKER_PHP": "php -d opcache.enable=0"}
    assert "PHP has none" in check(tmp_path, site, environ=without)[1]["opcache", WARNING]
    assert not (tmp_path / "state").exists(), "the daemon's own is not touched"
    assert not [key for key in check(tmp_path, site, opcache=False)[1] if key[0] == "opcache"]


def test_a_site_whose_civicrm_is_disabled(tmp_path):
    site = PhpSite(tmp_path / "php", enabled=False)
    _, found = check(tmp_path, site)
    assert "CiviCRM is not enabled in the WordPress site" in found["boot", BAD]
    assert "enable CiviCRM in the CMS" in found["boot", BAD]


def test_queues_that_cannot_work(tmp_path):
    site = PhpSite(tmp_path / "php", version="5.77.0", queue_item=False)
    site.queue("linear", type="Sql")
    site.execute("UPDATE civicrm_queue SET batch_limit = 2")
    site.queue("short", lease_time=60)
    _, found = check(tmp_path, site, pipe=site.command())
    assert "type Sql with batch_limit 2 fails at every claim" in found["queues", BAD]
    assert "queue short: lease_time 60 s is less than task_timeout 1800 s" in found["lease", WARNING]


@root_only
def test_caches_that_belong_to_somebody_else(tmp_path):
    site = PhpSite(tmp_path / "php")
    caches = site.root / "wp-content/uploads/civicrm/templates_c"
    caches.mkdir()
    os.chown(caches, 33, 33)
    _, found = check(tmp_path, site)
    assert 'run as www-data: coworker.user = "www-data"' in found["owner", BAD]


@root_only
def test_root_and_directories(tmp_path):
    site = PhpSite(tmp_path / "php")
    _, found = check(tmp_path, site, environ={"COWORKER_ALLOW_ROOT": None})
    assert "root is refused" in found["user", BAD]
    file = tmp_path / "file"
    file.touch()
    text = f'[coworker]\nrun_dir = "{file}/run"\nstate_dir = "{tmp_path}/state"\n'
    _, found = doctor(tmp_path, text + settings(site_table("MINIPIPE vtl", cwd=str(site.root))))
    assert "cannot be made" in found["run_dir", BAD]


def test_settings_that_are_wrong(tmp_path):
    status, found = doctor(tmp_path, '[sites.a]\npip = "x"\n')
    assert status == 1
    assert 'did you mean "pipe"?' in found["settings", BAD]
    status, found = doctor(tmp_path, f'[sites.a]\ncwd = "{tmp_path}"\n')
    assert status == 1
    assert "no CiviCRM site found in" in found["settings", BAD]


def test_over_http(tmp_path):
    with reached(tmp_path, "web") as (_, table):
        status, found = doctor(tmp_path, settings(table()))
        assert status == 0
        assert (
            "only tasks of the system and of the credential's own contact run" in found["identity", WARNING]
        )
        token_file(tmp_path, "WRONG").chmod(0o644)
        status, found = doctor(tmp_path, settings(table()))
        assert status == 1
        assert "refuses the credential (HTTP 401)" in found["boot", BAD]
        assert "check web_token_file" in found["boot", BAD]
        assert "can be read by others" in found["settings", WARNING]
        assert "WRONG" not in str(found)
        wrong = table(web="http://127.0.0.1:1" + ADDRESS)
        assert "cannot connect to http://127.0.0.1:1" in doctor(tmp_path, settings(wrong))[1]["boot", BAD]


def test_hybrid_with_tokens(tmp_path):
    with reached(tmp_path, "pipe,web", tokens={}) as (_, table):
        status, found = doctor(tmp_path, settings(table(web_token_file=None, web_contact=2)))
        assert (status, found.get(("boot", BAD))) == (0, None)
        assert "first answer after" in found["boot", OK]
        status, found = doctor(tmp_path, settings(table(web_token_file=None, web_contact=3)))
        assert status == 1
        assert "needs 'access CiviCRM' and 'administer queues'" in found["boot", BAD]


def test_a_daemon_that_runs(tmp_path, site, daemon):
    running = daemon(settings(site_table(site)))
    text = running.file.read_text()
    status, found = doctor(tmp_path, text)
    assert status == 0
    assert f"runs, pid {running.pid}" in found["daemon", OK]


def test_one_site_of_several(tmp_path, site):
    text = settings(site_table(site), site_table("exit 3", name="other"))
    assert doctor(tmp_path, text, "example")[0] == 0
    assert doctor(tmp_path, text)[0] == 1


def test_a_domain_that_nobody_serves(tmp_path):
    site = PhpSite(tmp_path / "php", domains=[1, 2])
    _, found = check(tmp_path, site)
    assert "no pipe serves domain 2: its tasks are given back" in found["domains", WARNING]
    assert "[sites.example.domains.2]" in found["domains", WARNING]


def test_a_clock_that_is_off(tmp_path, site):
    _, found = doctor(tmp_path, settings(site_table(site.command("--clock-offset 300"))))
    assert "the site's is +300 s from ours" in found["clock", WARNING]
    _, found = doctor(tmp_path, settings(site_table(site.command("--clock-offset 7200"))))
    assert "+120 min by its time zone" in found["clock", OK]
