"""Child processes: reaping, signals, the subreaper. Groups are in process_group."""

from __future__ import annotations

import contextlib
import ctypes
import os

from coworker.model import ExitStatus

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> bool:
    """Adopt orphaned grandchildren, so that they can be reaped. False where Linux does not offer it."""
    try:
        return bool(ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def reap() -> list[tuple[int, ExitStatus]]:
    """Return (pid, status) of every child that ended since the last call, foreign orphans among them."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended.append((pid, ExitStatus.from_returncode(os.waitstatus_to_exitcode(status))))
    return ended


def has_children() -> bool:
    """Whether there is any child, running or not yet reaped."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def signal_process(pid: int, number: int) -> None:
    """Signal one process, if it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
