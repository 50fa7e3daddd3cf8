"""Telling whether a process is still the same one: its pid may be another's by now."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_STATE, _START = 0, 19  # fields of /proc/PID/stat behind the name; see proc(5)


class Process(NamedTuple):
    """A pid and when it started, in clock ticks since the machine did; 0: nobody knows."""

    pid: int
    start: int


def process(pid: int) -> Process:
    """Return the process that has this pid now."""
    fields = _stat(pid)
    return Process(pid, int(fields[_START]) if fields else 0)


def this_process() -> Process:
    return process(os.getpid())


def is_running(who: Process) -> bool:
    """Whether that very process runs. A zombie does not; nor, for us, one whose start nobody knows."""
    fields = _stat(who.pid)
    return bool(fields and who.start and int(fields[_START]) == who.start and fields[_STATE] not in "ZX")


def is_another(who: Process) -> bool:
    """Whether its pid was taken by another process since: it and its process group are long gone."""
    fields = _stat(who.pid)
    return bool(fields and int(fields[_START]) != who.start)


def boot_id() -> str:
    """Return what differs after each start of the machine; "" where nobody knows."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """Return the fields behind the command's name, which may itself contain spaces and parentheses."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
