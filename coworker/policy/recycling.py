"""When a worker has served long enough, or takes too much memory. Limits get jitter (process rule 4)."""

from __future__ import annotations

from enum import Enum
from random import Random

from coworker.model import RetireReason, WorkerRecord, WorkerState

JITTER = 0.1


def draw_count(limit: int, rng: Random) -> int:
    """A worker's own limit of items: `limit` less up to 10 %, at least 1; 0 stays 0 (no limit)."""
    return max(1, limit - round(limit * JITTER * rng.random())) if limit else 0


def draw_age(limit: float, rng: Random) -> float:
    """A child's own limit of age in seconds: `limit` less up to 10 %; 0 stays 0 (no limit)."""
    return limit * (1.0 - JITTER * rng.random())


def expired(record: WorkerRecord, now: float) -> RetireReason | None:
    """The limit that this child has reached, if any."""
    if record.max_requests and record.work.done >= record.max_requests:
        return RetireReason.MAX_REQUESTS
    if record.life.state is WorkerState.BOOTING:
        return None  # else one that takes longer to boot would never be of use
    if record.life.max_age and now >= record.started_at + record.life.max_age:
        return RetireReason.MAX_AGE
    return None


class MemoryVerdict(str, Enum):
    """RETIRE: the child leaves when its successor is ready. KILL: the pipe goes now, with its task."""

    KEEP = "keep"
    RETIRE = "retire"
    KILL = "kill"


def judge_memory(used: int, *, max_memory: int, hard_memory: int) -> MemoryVerdict:
    """What to do with a worker whose pipe takes so much; all in MiB, and a limit of 0 is no limit."""
    if hard_memory and used > hard_memory:
        return MemoryVerdict.KILL
    return MemoryVerdict.RETIRE if max_memory and used > max_memory else MemoryVerdict.KEEP
