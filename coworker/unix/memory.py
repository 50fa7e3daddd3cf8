"""How much memory a process and its children take, and whether the kernel killed somebody for it."""

from __future__ import annotations

from pathlib import Path

import psutil

PROC_CGROUP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


def tree_rss(pid: int) -> int:
    """Return the resident bytes of this process and all below it. Pages that they share count for each.

    What ends meanwhile counts for nothing.
    """
    found, total = [pid], 0
    while found:
        each = found.pop()
        try:
            total += psutil.Process(each).memory_info().rss
            found += _children(each)
        except (psutil.Error, OSError):
            continue
    return total


def _children(pid: int) -> list[int]:
    """Read /proc/PID/task/TID/children: psutil would read every process of the machine to find them."""
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    try:
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN, or the thread has ended
        return [child.pid for child in psutil.Process(pid).children()]


class OomWatch:
    """The counter `oom_kill` in memory.events of our cgroup (v2). Where there is none, nobody was killed."""

    def __init__(self, cgroup: Path = PROC_CGROUP, root: Path = CGROUPS) -> None:
        self._events = self._find(cgroup, root)
        self._seen = self._count()

    @staticmethod
    def _find(cgroup: Path, root: Path) -> Path | None:
        try:
            lines = cgroup.read_text().splitlines()
        except OSError:
            return None
        ours = next((line[3:] for line in lines if line.startswith("0::")), None)
        return None if ours is None else root / ours.lstrip("/") / "memory.events"

    def _count(self) -> int:
        try:
            lines = self._events.read_text().splitlines() if self._events else []
            return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
        except (OSError, ValueError, IndexError):
            return 0

    def has_killed(self) -> bool:
        """Whether the kernel has killed a process of our cgroup since this was asked last, or made."""
        before, self._seen = self._seen, self._count()
        return self._seen > before
