"""Telling processes apart: a pid may be another's by now, and says nothing in another pid namespace."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_STATE, _PARENT, _GROUP, _START = 0, 1, 2, 19  # fields of /proc/PID/stat behind the name; see proc(5)


class Process(NamedTuple):
    """A pid and when it started, in clock ticks since the machine did; 0: nobody knows."""

    pid: int
    start: int


class Seen(NamedTuple):
    """A process as /proc shows it: the pid of its parent, and its process group. `runs`: it is no zombie."""

    process: Process
    parent: int
    group: int
    runs: bool


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


def everybody() -> list[Seen]:
    """Every process that /proc shows; none where there is no /proc of Linux. Raises OSError."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():  # noqa: PTH112, PTH208 - it is quick
        fields = _read_stat(int(name)) if name.isdecimal() else []
        if fields:
            who = Process(int(name), int(fields[_START]))
            found.append(Seen(who, int(fields[_PARENT]), int(fields[_GROUP]), fields[_STATE] not in "ZX"))
    return found


def descendants(pid: int, seen: Iterable[Seen]) -> list[Seen]:
    """Those of `seen` that descend from this process, parents first; zombies as well."""
    children: dict[int, list[Seen]] = {}
    for each in seen:
        children.setdefault(each.parent, []).append(each)
    found = list(children.pop(pid, ()))
    for each in found:  # it grows meanwhile
        found += children.pop(each.process.pid, ())
    return found


def in_environment(pid: int, variable: str) -> bool:
    """Whether the process shows this `NAME=value` in its environment: what it was started with.

    What we may not read, and what a program has overwritten, says nothing.
    """
    try:
        return os.fsencode(variable) in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def name_of(pid: int) -> str:
    """Return the pid with the name of its program, for a log; only the pid when it is gone."""
    try:
        return f"{pid} ({Path(f'/proc/{pid}/comm').read_text(errors='replace').strip()})"
    except OSError:
        return str(pid)


def pid_namespace() -> str:
    """Return what differs where pids mean other processes, in another container; "" where nobody knows."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - it is no path
    except OSError:
        return ""


def boot_id() -> str:
    """Return what differs after each start of the machine; "" where nobody knows."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """Return the fields behind the command's name; none if they cannot be read."""
    try:
        return _read_stat(pid)
    except OSError:
        return []


def _read_stat(pid: int) -> list[str]:
    """Return them, none if there is no such process. Raises OSError."""
    try:
        # The name may itself contain spaces and parentheses.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
