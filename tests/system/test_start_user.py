"""Who the daemon is: root only if allowed, another user if asked."""

import os
import re
import signal
from pathlib import Path

import psutil
import pytest
from support.daemon import Daemon, wait_until
from support.site import Site
from support.starting import NOBODY, everybodys_directory, prefix_to_become_nobody, refusal, root_only
from support.tables import settings, site_table

pytestmark = root_only
SITE = "[sites.example]\npipe = 'sleep 600'\n"


@pytest.fixture
def shared():
    yield from everybodys_directory()


@pytest.fixture
def as_nobody(shared):
    """A function that starts a daemon which becomes nobody, on a site that is nobody's."""
    prefix = prefix_to_become_nobody()
    site = Site(shared / "site.db", shared / "tasks.log")
    for path in shared.iterdir():
        os.chown(path, NOBODY, NOBODY)
    started = []

    def start(*arguments, **more):
        text = settings(site_table(site))
        more = {"environment": {"COWORKER_ALLOW_ROOT": "0"}, **more}
        arguments = ["-d", "coworker.user=nobody", *arguments]
        started.append(Daemon(shared / "daemon", text, arguments=arguments, prefix=prefix, **more))
        return site, started[-1]

    yield start
    for each in started:
        each.destroy()


def test_root_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(f"coworker.run_dir = '{tmp_path}/run'\ncoworker.state_dir = '{tmp_path}/state'\n{SITE}")
    (said,) = refusal("-c", path, COWORKER_ALLOW_ROOT=None)
    assert said.startswith("refusing to run as root: CiviCRM's caches would become root's")
    assert "coworker.user" in said
    assert "coworker.allow_root = true (COWORKER_ALLOW_ROOT=1)" in said
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("way", ["file", "environment", "command line"])
def test_root_can_be_allowed(site, daemon, tmp_path, way):
    arguments = ["-d", "coworker.allow_root=true"] if way == "command line" else []
    if way == "file":
        (tmp_path / "daemon0" / "coworker.d").mkdir(parents=True)
        (tmp_path / "daemon0" / "coworker.d" / "root.toml").write_text("coworker.allow_root = true\n")
    environment = {"COWORKER_ALLOW_ROOT": "1" if way == "environment" else None}
    running = daemon(settings(site_table(site), count=1), arguments=arguments, environment=environment)
    assert running.stop() == 0


def test_with_user_the_master_and_every_child_and_pipe_become_that_user(as_nobody):
    _, running = as_nobody()
    running.event("ready", count=3)
    family = [psutil.Process(running.pid), *running.tree()]
    assert len(family) == 7
    for process in family:
        assert set(process.uids()) == {NOBODY}, process
        assert set(process.gids()) == {NOBODY}, process
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert re.search(r"^Groups:\s*(\d*)\s*$", status, re.MULTILINE)[1] in ("", str(NOBODY))
    pipe = psutil.Process(running.pipe_of(running.workers()[0]))
    assert {pipe.environ()[name] for name in ("USER", "LOGNAME")} == {"nobody"}
    assert pipe.environ()["HOME"] != os.environ.get("HOME")


def test_with_user_tasks_run_directories_are_its_own_and_reload_and_stop_work(as_nobody):
    site, running = as_nobody()
    site.queue("a")
    site.push("a", "empty", times=3)
    wait_until(lambda: site.left() == 0, "the tasks")
    for name in ("run", "state", "run/coworker.pid"):
        assert (running.folder / name).stat().st_uid == NOBODY
    assert site.journal.stat().st_uid == NOBODY
    running.send(signal.SIGHUP)
    running.event("reloaded")
    assert running.events("restart_needed") == []
    assert running.stop() == 0
    assert list((running.folder / "run").iterdir()) == []


def test_a_user_that_does_not_exist_is_refused(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(SITE)
    dirs = ["-d", f"coworker.run_dir={tmp_path}/run", "-d", f"coworker.state_dir={tmp_path}/state"]
    (said,) = refusal("-c", path, *dirs, "-d", "coworker.user=nobody-at-all", COWORKER_ALLOW_ROOT=None)
    assert said == "coworker.user = nobody-at-all: there is no such user"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("setting", ["run_dir", "state_dir"])
def test_a_directory_that_the_user_may_not_write_is_refused_with_what_to_do(as_nobody, shared, setting):
    closed = shared / "closed"
    closed.mkdir(mode=0o755)
    _, running = as_nobody("-d", f"coworker.{setting}={closed}", wait=None)
    assert running.process.wait(60) == 78
    (said,) = running.error.read_text().splitlines()
    assert said.startswith(f"coworker: {setting} = {closed}: cannot be written by uid {NOBODY}; give it to")


def test_a_user_who_is_not_root_cannot_become_another(shared):
    path = shared / "c.toml"
    path.write_text(f"coworker.run_dir = '{shared}/run'\ncoworker.state_dir = '{shared}/state'\n{SITE}")
    (said,) = refusal("-c", path, "-d", "coworker.user=root", as_nobody=True)
    assert said == "coworker.user = root: only root can become another user"
