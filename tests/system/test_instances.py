"""Two daemons: never on one directory, side by side otherwise."""

import os
import signal
import subprocess
import sys

import pytest
from support.daemon import wait_until
from support.starting import environment
from support.tables import settings, site_table


@pytest.fixture
def ad_hoc(tmp_path):
    """A function that starts `coworker run --pipe=CMD` without any file."""
    started = []

    def start(command, *arguments):
        dirs = {"RUNTIME_DIRECTORY": f"{tmp_path}/run", "STATE_DIRECTORY": f"{tmp_path}/state"}
        error = tmp_path / f"error{len(started)}"
        with error.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "coworker", "run", f"--pipe={command}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=environment(**dirs),
            )
        process.log = error
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.wait(60)


def said(running):
    """What a daemon that could not start has said."""
    assert running.process.wait(60) == 78
    (line,) = running.error.read_text().splitlines()
    return line


def assert_runs_tasks(site):
    site.queue("q")
    ids = site.push("q", "empty", times=3)
    wait_until(lambda: site.left() == 0, "the tasks")
    assert sorted(site.ended()) == sorted(ids)


def test_a_second_daemon_on_the_same_run_dir_is_refused_with_the_pid_of_the_first(
    site, other, daemon, tmp_path
):
    first = daemon(settings(site_table(site), count=1))
    arguments = ["-d", f"coworker.state_dir={tmp_path}/elsewhere"]
    second = daemon(settings(site_table(other), count=1), share=first, arguments=arguments, wait=None)
    line = said(second)
    assert f"another coworker (pid {first.pid}) already uses {first.folder}/run" in line
    assert "stop it first, or give this one its own run_dir and state_dir" in line
    assert (first.folder / "run" / "coworker.pid").read_text() == f"{first.pid}\n"
    assert_runs_tasks(site)
    assert first.stop() == 0


def test_a_second_daemon_on_the_same_state_dir_is_refused_with_the_pid_of_the_first(
    site, other, daemon, tmp_path
):
    first = daemon(settings(site_table(site), count=1))
    arguments = ["-d", f"coworker.run_dir={tmp_path}/elsewhere"]
    second = daemon(settings(site_table(other), count=1), share=first, arguments=arguments, wait=None)
    assert f"another coworker (pid {first.pid}) already uses {first.folder}/state" in said(second)
    assert not (tmp_path / "elsewhere").exists()
    assert_runs_tasks(site)
    assert first.stop() == 0


def test_of_several_daemons_started_at_once_exactly_one_runs(site, daemon):
    first = daemon(settings(site_table(site), count=1), wait=None)
    others = [daemon(settings(site_table(site), count=1), share=first, wait=None) for _ in range(4)]
    every = [first, *others]
    wait_until(lambda: sum(each.process.poll() == 78 for each in every) == 4, "four refusals")
    (running,) = [each for each in every if each.process.poll() is None]
    running.event("ready")
    assert_runs_tasks(site)
    assert running.stop() == 0


def test_a_pid_file_left_by_a_killed_daemon_is_taken_over(site, daemon):
    first = daemon(settings(site_table(site), count=1))
    first.stop(signal.SIGKILL)
    file = first.folder / "run" / "coworker.pid"
    assert file.read_text() == f"{first.pid}\n"
    second = daemon(settings(site_table(site), count=1), share=first)
    assert file.read_text() == f"{second.pid}\n"
    assert_runs_tasks(site)
    assert second.stop() == 0
    assert not file.exists()


def test_a_pid_file_with_the_pid_of_somebody_else_is_taken_over(site, daemon, tmp_path):
    folder = tmp_path / "daemon0" / "run"
    folder.mkdir(parents=True)
    (folder / "coworker.pid").write_text(f"{os.getpid()}\n")
    running = daemon(settings(site_table(site), count=1))
    assert (folder / "coworker.pid").read_text() == f"{running.pid}\n"


def test_a_daemon_can_start_as_soon_as_the_one_before_has_ended(site, daemon):
    before = daemon(settings(site_table(site), count=1))
    for _ in range(3):
        assert before.stop() == 0
        before = daemon(settings(site_table(site), count=1), share=before)


def test_two_sites_are_served_side_by_side_without_any_file(site, other, ad_hoc):
    first, second = ad_hoc(site.command()), ad_hoc(other.command())
    assert_runs_tasks(site)
    assert_runs_tasks(other)
    assert first.poll() is second.poll() is None
    third = ad_hoc(site.command())
    assert third.wait(60) == 78
    assert f"another coworker (pid {first.pid}) already uses" in third.log.read_text()
    assert_runs_no_more(first)
    assert second.poll() is None


def assert_runs_no_more(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
