"""`coworker run` on a terminal, as somebody who tries it does."""

import os
import re
import shlex
import signal
import sys
from contextlib import suppress

import pexpect
import psutil
import pytest
from support.daemon import wait_until
from support.processes import wait_gone
from support.starting import environment

PATIENCE = 20
COLOUR = re.compile(r"\x1b\[[0-9;]+m")


@pytest.fixture
def terminal(site, tmp_path):
    """A function that runs `coworker run --pipe=…` on a terminal of its own."""
    started = []

    def start(*arguments, **more):
        options = {"run_dir": tmp_path / "run", "state_dir": tmp_path / "state"}
        options = [f"-dcoworker.{name}={value}" for name, value in options.items()]
        options += ["-dsites.main.poll_interval=0.05", *arguments]
        child = pexpect.spawn(
            sys.executable,
            ["-m", "coworker", "run", f"--pipe={site.command()}", *options],
            env=environment(**{"TERM": "xterm", "NO_COLOR": None, **more}),
            encoding="utf-8",
            codec_errors="replace",
            timeout=PATIENCE,
            dimensions=(40, 300),
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.close(force=True)


@pytest.fixture
def shell(site, tmp_path):
    """A shell with job control on a terminal; `command()` starts a daemon there."""
    child = pexpect.spawn(
        "bash", ["--norc", "--noprofile", "-i"], env=environment(TERM="dumb", PS1="$ "), encoding="utf-8",
        codec_errors="replace", timeout=PATIENCE, dimensions=(40, 900),
    )  # fmt: skip
    options = [f"-dcoworker.{name}={tmp_path / name}" for name in ("run_dir", "state_dir")]
    words = [sys.executable, "-m", "coworker", "run", f"--pipe={site.command()}", *options]
    child.command = lambda: shlex.join([*words, "-dsites.main.poll_interval=0.05"])
    yield child
    child.close(force=True)
    with suppress(FileNotFoundError):  # its pid file, if it has not ended by itself
        os.kill(int((tmp_path / "run_dir" / "coworker.pid").read_text()), signal.SIGKILL)


def start_with_held_task(site, terminal, gate):
    """`coworker run`, a task that runs until the gate is there, and all its processes."""
    site.queue("a")
    held = site.push("a", "hold", str(gate))
    child = terminal()
    wait_until(site.started, "the start of the task")
    return child, held[0], psutil.Process(child.pid).children(recursive=True)


def assert_ended(child, processes):
    child.expect(pexpect.EOF)
    child.wait()
    assert (child.exitstatus, child.signalstatus) == (0, None)
    wait_gone(processes)


def test_ctrl_c_once_is_a_graceful_stop_the_task_finishes(site, terminal, gate):
    child, held, processes = start_with_held_task(site, terminal, gate)
    child.sendintr()
    child.expect("stopping")
    gate.touch()
    child.expect("stopped")
    assert_ended(child, processes)
    assert site.ended() == [held]
    assert site.left() == 0


def test_ctrl_c_twice_is_a_fast_stop_the_task_is_given_back(site, terminal, gate):
    child, held, processes = start_with_held_task(site, terminal, gate)
    child.sendintr()
    child.expect("stopping")
    child.sendintr()
    child.expect("halting")
    assert_ended(child, processes)
    assert site.rows() == {held: (0, None)}


def test_ctrl_backslash_is_a_fast_stop(site, terminal, gate):
    child, held, processes = start_with_held_task(site, terminal, gate)
    child.sendcontrol("\\")
    child.expect("halting")
    assert_ended(child, processes)
    assert site.rows() == {held: (0, None)}


def test_ctrl_z_makes_it_quiet_and_cont_lets_it_go_on(site, terminal):
    site.queue("a")
    child = terminal()
    child.expect("ready.*ready.*ready")
    child.sendcontrol("z")
    child.expect("quiet")
    site.push("a", "empty")
    child.kill(18)
    child.expect("going_on")
    wait_until(lambda: site.left() == 0, "the task")


def test_the_log_on_a_terminal_is_text_with_colour(terminal):
    child = terminal()
    child.expect("ready")
    child.sendintr()
    child.expect("stopped")
    assert COLOUR.search(child.before)
    assert "{" not in COLOUR.sub("", child.before)


def test_no_color_in_the_environment_is_respected(terminal):
    child = terminal(NO_COLOR="1")
    child.expect("ready")
    child.sendintr()
    child.expect("stopped")
    assert not COLOUR.search(child.before)


def test_json_is_written_to_a_terminal_too_if_asked_for(terminal):
    child = terminal("-dlog.format=json")
    child.expect('"event": "ready"')
    child.sendintr()
    child.expect('"event": "stopped"')


def test_a_mistake_is_said_in_one_plain_line(terminal):
    child = terminal("-dworkers.count=none")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 78
    (line,) = child.before.splitlines()
    assert line.startswith("coworker: -d workers.count=none: must be a whole number")


def test_in_the_background_it_writes_to_a_terminal_that_wants_no_such_output(site, shell):
    site.queue("a")
    site.push("a", "empty", times=5)
    shell.sendline("stty tostop; " + shell.command() + " &")
    shell.expect("ready.*ready")
    wait_until(lambda: site.left() == 0, "the tasks")
    shell.sendline("kill %1; wait %1; echo it ended with $?")
    shell.expect("stopped")
    assert "count_changed" not in shell.before
    shell.expect("it ended with 0")


def start_with_log(shell, line, log):
    """Start the daemon by this line of the shell, wait until it is ready, and return its process."""
    shell.sendline(line.format(command=shell.command(), log=log))
    wait_until(lambda: log.exists() and log.read_text().count("ready") >= 2, "a worker that is ready")
    return next(
        process for process in psutil.Process(shell.pid).children(recursive=True)
        if "coworker: master" in " ".join(process.cmdline())
    )  # fmt: skip


@pytest.mark.parametrize("line", ["{command} 2> {log}", "{command} 2>&1 | tee {log}"])
def test_when_its_terminal_is_closed_it_stops_wherever_its_log_goes(site, shell, gate, tmp_path, line):
    site.queue("a")
    held = site.push("a", "hold", str(gate))
    master = start_with_log(shell, line, tmp_path / "log")
    wait_until(site.started, "the start of the task")
    processes = [master, *master.children(recursive=True)]
    shell.ptyproc.fileobj.close()
    gate.touch()
    wait_gone(processes)
    assert site.ended() == held
    assert site.left() == 0
    assert not (tmp_path / "run_dir").exists()


def test_hup_while_its_terminal_is_there_is_a_reload(shell, tmp_path):
    log = tmp_path / "log"
    master = start_with_log(shell, "{command} 2> {log}", log)
    master.send_signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in log.read_text(), "the end of the reload")


def test_under_nohup_it_outlives_its_terminal(site, shell, tmp_path):
    log = tmp_path / "log"
    master = start_with_log(shell, "nohup {command} > {log} 2>&1", log)
    shell.ptyproc.fileobj.close()
    try:
        wait_until(lambda: "reloaded" in log.read_text(), "the end of the reload")
        site.queue("a")
        site.push("a", "empty")
        wait_until(lambda: site.left() == 0, "the task")
    finally:
        processes = [master, *master.children(recursive=True)]
        master.terminate()
        wait_gone(processes)
