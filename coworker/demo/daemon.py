"""The real daemon, started as anybody would start it: `coworker run -c FILE`, as a process of its own."""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

import coworker
from coworker.errors import CoworkerError
from coworker.model import ExitStatus

GRACEFUL_TIMEOUT = 5  # seconds; no task of the demo takes that long
STOP_TIMEOUT = GRACEFUL_TIMEOUT + 5.0  # seconds from TERM until the daemon must be gone
HURRY_INTERVAL = 0.1  # seconds between checks whether a second Ctrl-C has come
LINGER_TIMEOUT = 5.0  # seconds in which processes end by themselves that lost their daemon
TAIL_LINES = 8
_PR_SET_PDEATHSIG = 1

_SETTINGS = """\
[coworker]
run_dir = {run_dir}
state_dir = {state_dir}
allow_root = true
graceful_timeout = {graceful_timeout}
duration = {duration}

[log]
level = "debug"
format = "json"
file = {log}

[workers]
count = {workers}
min_idle = {workers}
boot_budget = 2
max_requests = {max_requests}

[sites.demo]
pipe = {pipe}
"""


class DemoError(CoworkerError):
    """The demo could not be carried through."""


class Daemon:
    """The daemon that the demo runs. It ends by itself after `duration` seconds, whatever becomes of us."""

    def __init__(self, folder: Path, store: str, *, workers: int, max_requests: int, duration: float) -> None:
        self.log = folder / "coworker.log"
        self.started = 0.0  # monotonic seconds
        self._folder = folder
        self._error = folder / "coworker.err"
        self._file = folder / "coworker.toml"
        self._process: subprocess.Popen[bytes] | None = None
        values = {
            "run_dir": _quote(folder / "run"),
            "state_dir": _quote(folder / "state"),
            "log": _quote(self.log),
            "pipe": _quote(
                f"exec {shlex.join([sys.executable, '-m', 'coworker', 'pipe', '--store', store, 'vtl'])}"
            ),
        }
        text = _SETTINGS.format(
            workers=workers, max_requests=max_requests, duration=duration,
            graceful_timeout=GRACEFUL_TIMEOUT, **values,
        )  # fmt: skip
        self._file.write_text(text, encoding="utf-8")

    def start(self) -> None:
        """Start it in a session of its own: a Ctrl-C is the demo's, which stops the daemon in its turn."""
        self.started = time.monotonic()
        with self._error.open("wb") as error:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "coworker", "run", "-c", str(self._file)],
                stdin=subprocess.DEVNULL, stdout=error, stderr=error, cwd=self._folder, env=_environment(),
                start_new_session=True, preexec_fn=_end_with_parent(),  # noqa: PLW1509 - there is no thread
            )  # fmt: skip

    @property
    def exit_status(self) -> int | None:
        """How it exited: None while it runs, negative for the signal that ended it."""
        return None if self._process is None else self._process.poll()

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> list[str]:
        """Send TERM, see to it that nothing is left, and return what was wrong with its end, in words.

        A second TERM, for a fast stop, once it is true that we are in a `hurry`.
        """
        if self._process is None:
            return []
        problems = []
        family = _find_descendants(self._process.pid)
        if self.exit_status is None:
            self._process.terminate()
        status = self._wait(hurry)
        if status is None:
            self._process.kill()
            self._process.wait()
            problems.append(f"the daemon did not stop within {STOP_TIMEOUT:.0f} s after TERM")
        elif status:
            problems.append(f"the daemon ended with {ExitStatus.from_returncode(status)}")
        left = _end(family + self._find_named())
        if left:
            problems.append(f"{left} processes were left behind")
        return problems

    def _wait(self, hurry: Callable[[], bool]) -> int | None:
        """Wait for its exit status, or None if it does not stop in time."""
        assert self._process is not None  # noqa: S101 - for mypy
        deadline = time.monotonic() + STOP_TIMEOUT
        hurried = False
        while time.monotonic() < deadline:
            try:
                return self._process.wait(HURRY_INTERVAL)
            except subprocess.TimeoutExpired:
                if hurry() and not hurried:
                    self._process.terminate()
                    hurried = True
        return None

    def tail(self) -> str:
        """Return its last words: the end of its log, but for how tasks ended, and what it printed."""
        lines: list[str] = []
        for path in (self.log, self._error):
            if path.exists():
                said = path.read_text(errors="replace").splitlines()
                lines += [line for line in said if '"event": "task_done"' not in line][-TAIL_LINES:]
        return "".join(f"\n  {line}" for line in lines)

    def describe_end(self) -> str:
        """Say for people how it ended."""
        return str(ExitStatus.from_returncode(self.exit_status or 0))

    def _find_named(self) -> list[psutil.Process]:
        """Return the processes whose command line names our directory, as that of every pipe does."""
        folder = str(self._folder)
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if any(folder in part for part in process.info["cmdline"] or ())
        ]


def _quote(value: str | Path) -> str:
    """Write a TOML string: JSON's escapes are TOML's too."""
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _environment() -> dict[str, str]:
    """Return our environment without settings of another daemon, and with this very package first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COWORKER_")}
    root = str(Path(coworker.__file__).parent.parent)
    paths = [root, *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


def _end_with_parent() -> Callable[[], object] | None:
    """Return what the new process calls first: on Linux it gets TERM when we die, even of KILL."""
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return None
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _find_descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _end(processes: list[psutil.Process]) -> int:
    """Wait for their end, then kill, and return how many had to be killed."""
    _, alive = psutil.wait_procs(processes, timeout=LINGER_TIMEOUT)
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            pass
    psutil.wait_procs(alive, timeout=1)
    return len(alive)
