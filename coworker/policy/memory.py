"""What to do with a worker whose pipe holds much memory."""

from __future__ import annotations

from enum import Enum


class Verdict(str, Enum):
    """RETIRE: after its batch, when its successor is ready. KILL: now, with the task that runs."""

    KEEP = "keep"
    RETIRE = "retire"
    KILL = "kill"


def judge(held: int, *, max_memory: int, hard_memory: int) -> Verdict:
    """All in MiB; a limit of 0 is none."""
    if hard_memory and held > hard_memory:
        return Verdict.KILL
    return Verdict.RETIRE if max_memory and held > max_memory else Verdict.KEEP
