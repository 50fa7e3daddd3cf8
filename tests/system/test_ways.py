"""The same work over each way to a real PHP site: nothing lost, nothing twice, whatever breaks on the way."""

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL

import pytest
from support.daemon import wait_until
from support.php_site import PhpSite
from support.tables import settings
from support.ways import WAYS, reached


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_task_ends_as_it_should(tmp_path, daemon, way):
    with reached(tmp_path, way) as (site, table):
        site.queue("many")
        site.queue("batch", batch_limit=10)
        site.queue("linear", type="Sql")
        site.queue("failing", retry_limit=1)
        quick = site.push("many", "empty", times=40)
        batch = site.push("batch", "nap", 0.01, times=40)
        linear = site.push("linear", "empty", times=10)
        failing = site.push("failing", "fail", times=3)
        site.queue("patient", retry_limit=3)
        patient = site.push("patient", "fail_until", 2, times=3)
        slow = site.push("many", "nap", 0.5, times=2)
        contacts = []
        if "web" not in way:  # there only the credential's own contact can be
            for contact in (100, 200):
                site.contact(contact)
                contacts += site.push("batch", "empty", run_as=contact, times=10)
        running = daemon(settings(table(), count=2), wait=None)
        wait_until(lambda: site.left() == 0, "everything is done")
        running.stop()
        started = site.started()
        assert sorted(started) == sorted(
            [*quick, *slow, *batch, *linear, *contacts, *failing * 2, *patient * 3]
        )
        assert site.ended("linear") == linear
        assert {e["outcome"] for e in running.events("task_done", queue="failing")} == {"retry", "delete"}
        assert not [e for e in running.events() if e["level"] in ("error", "critical")]


# The last two only make noise.
DEADLY = [("leave", 3, "so long"), ("fatal",), ("eat", 200), ("crash",), ("shout", "x", 70_000), ("notice",)]


@contextmanager
def short_directory():
    """The path of a socket is short."""
    with tempfile.TemporaryDirectory(prefix="cw-", ignore_cleanup_errors=True) as path:
        yield Path(path)


def pipe_of(site, item):
    """The pid of the PHP that began this item last."""
    wait_until(lambda: item in site.started(), f"item {item} runs")
    return int([w[4] for w in site.written() if w[:2] == ["start", item]][-1])


@pytest.mark.parametrize("way", ["minipipe", "ssh"])
def test_whatever_ends_php_costs_its_task_alone(tmp_path, daemon, way):
    with reached(tmp_path, way) as (site, table):
        site.queue("a", batch_limit=5, retry_limit=1, lease_time=300)
        deadly = [site.push("a", name, *more)[0] for name, *more in DEADLY]
        healthy = site.push("a", "nap", 0.05, times=12)
        running = daemon(settings(table(), count=2, crash_limit=2), wait=None)
        wait_until(lambda: site.left() == (4 if way == "ssh" else 0), "all that can end has ended")
        assert all(site.started().count(item) == 1 for item in [*healthy, *deadly[4:]])
        tries = {item: site.started().count(item) for item in deadly[:4]}
        if way == "ssh":  # their PHP may still run, as far as anybody can see: nobody begins them again
            assert set(tries.values()) == {1}
            assert all(run_count == 1 for run_count, _ in site.rows().values())
        else:
            assert set(tries.values()) == {2}
            assert {e["item"] for e in running.events("poisoned")} == set(deadly[:4])
        lost = " ".join(e["reason"] for e in running.events("pipe_lost"))
        assert "Allowed memory size" in lost
        assert "Cannot declare class Tasks" in lost
        running.stop()


def test_a_kill_over_minipipe_before_6_4_is_settled_by_the_adapter(tmp_path, daemon, gate):
    with reached(tmp_path, "minipipe", version="5.77", queue_item=False) as (site, table):
        site.queue("a", batch_limit=4, retry_limit=1, retry_interval=1)
        (held,) = site.push("a", "hold", str(gate))
        rest = site.push("a", "empty", times=3)
        running = daemon(settings(table(), count=1))
        os.kill(pipe_of(site, held), SIGKILL)
        running.event("settled", count=4)
        found = {e["item"]: e["fate"] for e in running.events("settled")}
        assert found == {held: "try_counted", **dict.fromkeys(rest, "given_back")}
        gate.touch()
        wait_until(lambda: site.left() == 0, "all items gone")
        assert site.started().count(held) == 2
        assert [site.started().count(item) for item in rest] == [1, 1, 1]


def test_a_task_that_fails_over_minipipe_says_why_in_its_own_line(tmp_path, daemon):
    with reached(tmp_path, "minipipe") as (site, table):
        site.queue("a")
        (item,) = site.push("a", "fail")
        running = daemon(settings(table()))
        line = running.event("task_done", item=item)
        assert line["outcome"] == "delete"
        assert line["error"] == "RuntimeException: as it was made to"
        assert (line["title"], line["callback"]) == ("php:fail 0", "php:fail")
        assert not [e for e in running.events("task_stderr") if "task_error" in e["text"]]


def test_a_dropped_ssh_link_runs_nothing_twice(tmp_path, daemon, gate):
    with reached(tmp_path, "ssh") as (site, table):
        site.queue("a", batch_limit=4, retry_limit=3)
        site.queue("held", retry_limit=3)
        held = site.push("held", "hold", str(gate), times=2)
        naps = site.push("a", "nap", 0.02, times=30)
        running = daemon(settings(table(), count=3), wait=None)
        for item in held:
            pipe_of(site, item)
        for _ in range(3):
            lost, ready = (len(running.events(name)) for name in ("pipe_lost", "ready"))
            site.server.drop()
            running.event("pipe_lost", count=lost + 1)
            running.event("ready", count=ready + 1)
        wait_until(lambda: set(naps) <= set(site.ended()), "the rest goes on")
        gate.touch()
        wait_until(lambda: site.left() == 0, "all items gone")
        assert sorted(site.started()) == sorted([*held, *naps])
        assert sorted(site.ended()) == sorted([*held, *naps])
        running.stop()


def test_workers_share_one_ssh_connection(tmp_path, daemon, gate):
    with reached(tmp_path, "ssh") as (site, table):
        site.queue("a")
        held = site.push("a", "hold", str(gate), times=4)
        with short_directory() as folder:
            running = daemon(settings(table(), count=4), wait=None, folder=folder)
            wait_until(lambda: len(site.started()) == len(held), "four workers are at it")
            assert len(site.server.sessions()) <= 2  # the first two may be too quick for each other
            gate.touch()
            wait_until(lambda: site.left() == 0, "all items gone")
            running.stop()
            wait_until(lambda: not site.server.sessions(), "the connection is closed")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ssh_key_file": "sshd/stranger"}, "Permission denied (publickey"),
        ({"known_hosts": "sshd/stranger.pub"}, "Host key verification failed"),
        ({"ssh": "nobody-knows-this-host.invalid"}, "Could not resolve hostname"),
    ],
)
def test_ssh_that_is_refused_says_so_and_claims_nothing(tmp_path, daemon, change, says):
    with reached(tmp_path, "ssh") as (site, table):
        site.queue("a")
        site.push("a", "empty")
        if "ssh_key_file" in change:
            change = {"ssh_key_file": str(tmp_path / change["ssh_key_file"])}
        if "known_hosts" in change:
            server = site.server
            key = (tmp_path / change.pop("known_hosts")).read_text()
            server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {key}")
            change = {}
        running = daemon(settings(table(**change)), wait="site_down")
        assert says in running.event("site_down")["reason"]
        assert list(site.rows().values()) == [(0, None)]


def log_of_run(site, items, folder, *options, cwd=None):
    """The log of `coworker run` with these options, which works off the items and stops well."""
    own = ["-d", f"run_dir={folder}/run", "-d", f"state_dir={folder}/state"]
    command = [sys.executable, "-m", "coworker", "run", *own, *options]
    env = {**os.environ, "PWD": str(cwd or folder), "COWORKER_ALLOW_ROOT": "1"}
    process = subprocess.Popen(command, cwd=cwd, env=env, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: sorted(site.ended()) == items, "its work is done")
    finally:
        process.terminate()
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    return log


def test_coworker_run_in_a_sites_folder_just_works(tmp_path):
    site = PhpSite(tmp_path / "php", "drupal8")
    site.queue("a")
    items = site.push("a", "empty", times=3)
    assert "stopped" in log_of_run(site, items, tmp_path, cwd=site.root)


def test_the_address_of_the_first_wish_is_accepted(tmp_path):
    with reached(tmp_path, "web") as (site, _):
        site.queue("a")
        items = site.push("a", "empty", times=3)
        with site.serve() as url:
            log = log_of_run(site, items, tmp_path, f"--web={url}/civicrm/queue?token=SECRET")
    assert "the credential stands in the URL" in log
    assert "SECRET" not in log


def test_control_killed_again_and_again_loses_nothing_that_it_claimed_for_others(tmp_path, daemon):
    with reached(tmp_path, "pipe,web") as (site, table):
        site.queue("a", batch_limit=3, lease_time=300)
        naps = site.push("a", "nap", 0.02, times=60)
        running = daemon(settings(table(sole_agent=True), count=3), wait=None)
        for count in range(1, 4):
            control = running.event("ready", count=count, role="control")
            wait_until(lambda: len(site.ended()) > 12 * count, "work goes on")  # noqa: B023
            os.kill(control["pid"], SIGKILL)
        wait_until(lambda: site.left() == 0, "all items gone")
        assert sorted(site.started()) == sorted(naps) == sorted(site.ended())


@pytest.mark.parametrize("way", ["minipipe", "pipe,web"])
def test_kill_9_of_the_whole_daemon_loses_nothing(tmp_path, daemon, way):
    with reached(tmp_path, way) as (site, table):
        site.queue("a", batch_limit=3, lease_time=20, retry_limit=5)
        naps = site.push("a", "nap", 0.02, times=60)
        text = settings(table(sole_agent=True), count=2)
        first = daemon(text, wait=None)
        wait_until(lambda: len(site.ended()) > 10, "work goes on")
        os.kill(first.pid, SIGKILL)
        second = daemon(text, wait=None, share=first)
        wait_until(lambda: site.left() == 0, "all items gone")
        assert set(site.ended()) == set(naps)
        assert len(site.started()) <= len(naps) + 2  # those that were killed in the midst, and no others
        second.stop()


@pytest.mark.parametrize("way", ["minipipe", "ssh"])
def test_a_task_that_hangs_is_ended_and_the_others_go_on(tmp_path, daemon, gate, way):
    with reached(tmp_path, way) as (site, table):
        site.queue("a", batch_limit=3, retry_limit=0, lease_time=300)
        (hangs,) = site.push("a", "hold", str(gate))
        rest = site.push("a", "nap", 0.02, times=10)
        running = daemon(settings(table(), count=2, task_timeout=1), wait=None)
        wait_until(lambda: sorted(site.ended()) == sorted(rest), "the others are done")
        fate = running.event("settled", item=hangs)["fate"]
        assert fate == ("unknown" if way == "ssh" else "try_counted")
        gate.touch()
        wait_until(lambda: site.left() == 0, "all items gone")
        assert site.started().count(hangs) == 1
        assert sorted(site.started()) == sorted([hangs, *rest])
        running.stop()
