"""A shell command in its own session: started with nothing of ours in it, ended with all its children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import ClassVar

from coworker.model import ExitStatus
from coworker.unix.children import has_children, reap, signal_process
from coworker.unix.poller import Poller
from coworker.unix.proc import Seen, descendants, everybody
from coworker.unix.process_group import group_is_empty, signal_group

# subprocess itself restores these, which Python ignores at its start.
_RESTORED_BY_SUBPROCESS = {signal.SIGPIPE, signal.SIGXFSZ}

_KILL_WAIT = 5.0  # seconds: a process in an uninterruptible system call outlives its KILL
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05  # seconds between checks whether it has ended


class Command:
    """A running `/bin/sh -c command`; it leads a session and a process group, both numbered as its pid.

    `stdin`, `stdout` and `stderr` are our ends of its pipes: descriptors that do not block.
    """

    started: ClassVar[dict[int, Command]] = {}  # those that were not reaped, by pid

    def __init__(self, command: str, *, cwd: Path | None, env: Mapping[str, str]) -> None:
        """Start the command with its signals at their defaults and none blocked.

        `env` is the whole environment; the directory of this Python is appended to its PATH, so that
        `coworker pipe` is found from a virtual environment.
        Raises OSError (no such directory, not allowed) and ValueError (a NUL in the command).
        """
        with _default_signals():
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env={**env, "PATH": _search_path(env.get("PATH", os.defpath))},
                start_new_session=True,
            )
        self.pid = self.group = self._process.pid
        self.exit_status = ExitStatus()  # once it was reaped
        self.reaped = False
        self.started[self.pid] = self
        self.group_gone = False  # the group was seen empty: nothing of it runs any more
        self.survives = False  # what has left its group could not be killed
        self._everything = False  # every descendant of this process is to be ended with it
        streams = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._streams = [stream for stream in streams if stream is not None]
        self.stdin, self.stdout, self.stderr = (stream.fileno() for stream in self._streams)
        for stream in self._streams:
            os.set_blocking(stream.fileno(), False)

    def reap(self) -> bool:
        """Tell without waiting whether the command itself has exited; children of it may live."""
        if self.reaped:
            return True
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else reaped it, or SIGCHLD is ignored
            self.was_reaped(ExitStatus())
        else:
            if pid:
                self.was_reaped(ExitStatus.from_returncode(os.waitstatus_to_exitcode(status)))
        return self.reaped

    def was_reaped(self, status: ExitStatus) -> None:
        """Note how the command has ended, whoever reaped it."""
        self.reaped, self.exit_status = True, status
        self._process.returncode = 0  # so that subprocess does not wait for it
        del self.started[self.pid]

    def close_stdin(self) -> None:
        self._streams[0].close()

    def end(self, drainer: Poller, patience: tuple[float, float], *, everything: bool = False) -> None:
        """Close stdin → wait → TERM to the group → wait → KILL. `patience` in seconds.

        `everything`: not only the group is meant, but all that descends from this process, which has to be
        the subreaper of what it starts. `drainer` is what is waited on: its callbacks read stdout and stderr,
        so that nobody blocks there. Returns once nothing of it runs, at the latest 5 s after the KILL: then
        `group_gone` is false, or it `survives`.
        """
        self._everything = everything
        self.close_stdin()
        if _wait_until(self._is_gone, drainer, patience[0]):
            return
        self._signal(signal.SIGTERM)
        if not _wait_until(self._is_gone, drainer, patience[1]):
            self.kill(drainer, everything=everything)

    def kill(self, drainer: Poller, *, everything: bool = False) -> None:
        """KILL it at once, again and again until nothing of it is new, and wait as `end` does."""
        self._everything = everything
        self.close_stdin()
        if not _wait_until(self._kill, drainer, _KILL_WAIT) and everything:
            self.survives = any(each.runs and each.group != self.group for each in _descendants())

    def close(self) -> None:
        """Close our ends of its pipes."""
        for stream in self._streams:
            stream.close()

    def wait_for_exit(self, drainer: Poller, seconds: float) -> bool:
        """Wait until the command itself has exited."""
        return _wait_until(self.reap, drainer, seconds)

    def _is_gone(self) -> bool:
        self.group_gone = self.group_gone or (self.reap() and group_is_empty(self.group))
        if self._everything:
            reap_all()
        # Whatever descends from a subreaper ends as its child: nobody is overlooked who forks meanwhile.
        return self.group_gone and not (self._everything and has_children())

    def _kill(self) -> bool:
        gone = self._is_gone()
        if not gone:
            self._signal(signal.SIGKILL)
        return gone

    def _signal(self, signum: int) -> None:
        if not self.group_gone:  # its number may be another's once it was seen empty
            signal_group(self.group, signum)
        if self._everything:
            for each in _descendants():
                signal_process(each.process.pid, signum)


def _descendants() -> list[Seen]:
    try:
        return descendants(os.getpid(), everybody())
    except OSError:  # no descriptor is free to read /proc
        return []


def reap_all() -> None:
    """Reap all children of this process that have ended: commands, and orphans that these left to it."""
    for pid, status in reap():
        if (command := Command.started.get(pid)) is not None:
            command.was_reaped(status)


def _wait_until(condition: Callable[[], bool], drainer: Poller, seconds: float) -> bool:
    # Not every system has a descriptor that tells the end of a process: check again, ever more seldom.
    deadline = time.monotonic() + seconds
    pause = _SHORTEST_PAUSE
    while not condition():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        drainer.wait(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)
    return True


def _search_path(path: str) -> str:
    ours = str(Path(sys.executable).parent)
    return path if ours in path.split(os.pathsep) else f"{path}{os.pathsep}{ours}"


@contextmanager
def _default_signals() -> Iterator[None]:
    """Let a program started in here have every signal at its default and unblocked.

    An ignored signal stays ignored across exec, a caught one does not. So those that we ignore are
    caught meanwhile, by a handler that does nothing: no moment in which they could hit us, and no
    preexec_fn, which would cost vfork and is not safe beside threads.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    ignored = [
        signum
        for signum in signal.valid_signals() - _RESTORED_BY_SUBPROCESS
        if signal.getsignal(signum) is signal.SIG_IGN
    ]
    blocked = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        for signum in ignored:
            signal.signal(signum, _nothing)
        yield
    finally:
        for signum in ignored:
            signal.signal(signum, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _nothing(_signum: int, _frame: FrameType | None) -> None:
    """Stand in for SIG_IGN."""
