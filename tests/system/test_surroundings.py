"""What surrounds the daemon: closed streams, lost terminals, directories, and whose words are whose."""

import json
import os
import signal
import subprocess
import sys

import psutil
from support.daemon import wait_until
from support.starting import environment, refusal
from support.tables import settings, site_table


def test_with_all_standard_streams_closed_it_runs_and_logs_to_its_file(site, daemon):
    site.queue("a")
    site.push("a", "empty")
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    running = daemon(settings(site_table(site), count=1), prefix=closed)
    running.event("task_done", outcome="ok")
    assert running.stop() == 0


def test_what_a_failing_task_says_on_stderr_is_logged_with_it_and_with_no_other(site, daemon):
    site.queue("a", batch_limit=1)
    (bad,) = site.push("a", "fail")
    (good,) = site.push("a", "leave", 3)
    running = daemon(settings(site_table(site), count=1))
    said = running.event("task_stderr", items=bad)
    assert "RuntimeError: as it was made to" in said["text"]
    assert said["level"] == "notice"
    lost = running.event("pipe_lost", queue="a")
    assert "RuntimeError" not in lost["reason"]
    assert "RuntimeError" not in running.event("settled", item=good)["cause"]


def test_a_log_file_that_cannot_be_written_refuses_the_reload(site, daemon, tmp_path):
    text = settings(site_table(site), count=1)
    running = daemon(text)
    old = running.titles()
    running.file.write_text(running.file.read_text().replace(str(running.log), f"{tmp_path}/no/such.log"))
    running.send(signal.SIGHUP)
    assert "no/such.log: No such file" in running.event("reload_refused")["reason"]
    assert set(running.titles()) == set(old)


def test_when_its_terminal_is_closed_it_stops_gracefully(site, tmp_path):
    """The HUP of a hang-up is no reload."""
    command = [sys.executable, "-m", "coworker", "run", "--pipe", site.command()]
    directories = [f"-d{name}={tmp_path}/{name}" for name in ("run_dir", "state_dir")]
    pid, terminal = os.forkpty()
    if pid == 0:
        os.execvpe(command[0], [*command, *directories], {**os.environ, "COWORKER_ALLOW_ROOT": "1"})
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 4096)
    family = psutil.Process(pid).children(recursive=True)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    wait_until(lambda: not any(process.is_running() for process in family), "all are gone")
    assert not (tmp_path / "run_dir").exists(), "made by it, and empty"


def test_a_start_that_is_refused_leaves_no_directory_behind(site, tmp_path):
    made = f"-drun_dir={tmp_path}/made/run", f"-dstate_dir={tmp_path}/site.db/no"
    assert "cannot be made" in refusal("run", "--pipe", site.command(), *made)[0]
    assert not (tmp_path / "made").exists()


def test_debug_runs_each_task_in_a_boot_of_its_own_and_logs_everything(site, tmp_path):
    site.queue("a", batch_limit=1)
    ids = site.push("a", "empty", times=3)
    given = [f"-d{name}={tmp_path}/{name}" for name in ("run_dir", "state_dir")]
    given += ["--pipe", site.command(), "-dlog.format=json"]
    command = [sys.executable, "-m", "coworker", "debug", *given]
    daemon = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    events = []
    while sum(event["event"] == "gone" and event.get("worker", 0) == 1 for event in events) < 3:
        events.append(json.loads(daemon.stderr.readline()))
    daemon.terminate()
    daemon.communicate(timeout=60)
    assert daemon.returncode == 0
    done = [event for event in events if event["event"] == "task_done"]
    assert [event["item"] for event in done] == ids
    assert len({event["pid"] for event in done}) == 3
    assert any(event["event"] == "looked" for event in events)


def test_a_tried_site_leaves_no_directory_in_the_way_of_the_service(site, tmp_path):
    """Without a file, directories lie beside those of the service, and go with the run."""
    lair = tmp_path / "lair"  # the site's own files are elsewhere: SQLite's come and go
    lair.mkdir()
    homes = {"XDG_RUNTIME_DIR": str(lair), "XDG_STATE_HOME": str(lair), "HOME": str(lair)}
    command = [sys.executable, "-m", "coworker", "run", "--pipe", site.command(), "-d", "duration=0.2"]
    env = {**os.environ, **homes, "COWORKER_ALLOW_ROOT": "1"}
    if os.geteuid() == 0:  # root's are elsewhere
        command += [f"-drun_dir={lair}/a/b", f"-dstate_dir={lair}/c"]
    subprocess.run(command, env=env, check=True, stderr=subprocess.DEVNULL, timeout=60)
    assert list(lair.iterdir()) == []
