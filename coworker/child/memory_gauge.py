"""A worker's gauge of its pipe's memory: read at most once a second, while a batch runs and after it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from coworker.civi.pipe import PipeEndedError
from coworker.errors import MemoryExceededError, SiteError
from coworker.ipc.link import ChildLink
from coworker.ipc.messages import Note, Spent
from coworker.model import ExitStatus, RetireReason
from coworker.policy.recycling import MemoryVerdict, judge_memory
from coworker.unix.memory import OomWatch, tree_rss

INTERVAL = 1.0  # seconds between two measurements, but for the one after a long batch
LONG_BATCH = 0.1  # seconds
MIB = 1024 * 1024
KILLED = (ExitStatus(signal=9), ExitStatus(code=137))  # by the kernel itself, and as a shell says it


@dataclass
class MemoryGauge:
    """The memory of the pipe whose command has this pid. Limits are in MiB, 0 for none."""

    pid: int
    link: ChildLink
    max_memory: int
    hard_memory: int
    _next_at: float = 0.0
    _unmeasured: bool = False  # a batch has ended since the last measurement
    _told: bool = False
    _oom: OomWatch = field(default_factory=OomWatch)

    def while_busy(self) -> None:
        """Measure the pipe if it is time. Raises MemoryExceededError when it takes more than it ever may."""
        if (used := self._measure()) is not None:
            self._judge(used)

    def after_batch(self, seconds: float = 0.0) -> None:
        """Have the pipe replaced when it takes more than it should. Raises as `while_busy` does.

        A batch that took long enough to grow is measured at once, or the next one would be blamed.
        """
        if seconds >= LONG_BATCH:
            self._next_at = 0.0
        used = self._measure()
        self._unmeasured = used is None
        if used is not None and self._judge(used) is MemoryVerdict.RETIRE and not self._told:
            self._told = True
            grown = {"mebibytes": used, "max_memory": self.max_memory}
            self.link.post(Note("notice", "memory_grown", grown))
            self.link.post(Spent(RetireReason.MAX_MEMORY.value))

    def patience(self) -> float | None:
        """The seconds until `after_batch` is to be called again; None if it need not be."""
        if not self._unmeasured or self._told or not (self.max_memory or self.hard_memory):
            return None
        return max(0.0, self._next_at - time.monotonic())

    def _measure(self) -> int | None:
        """The memory of the pipe (MiB); None if it is not time yet, or if there are no limits."""
        now = time.monotonic()
        if now < self._next_at or not (self.max_memory or self.hard_memory):
            return None
        self._next_at = now + INTERVAL
        return tree_rss(self.pid) // MIB

    def _judge(self, used: int) -> MemoryVerdict:
        verdict = judge_memory(used, max_memory=self.max_memory, hard_memory=self.hard_memory)
        if verdict is MemoryVerdict.KILL:
            raise MemoryExceededError(
                f"memory: the pipe and its children take {used} MiB, hard_memory is {self.hard_memory}"
            )
        return verdict

    def explain(self, error: SiteError) -> SiteError:
        """The error itself, unless it is the end of a pipe that the kernel ended for want of memory."""
        if isinstance(error, PipeEndedError) and error.exit_status in KILLED and self._oom.has_killed():
            return MemoryExceededError(f"memory: killed by the kernel, which had none left: {error}")
        return error
