"""When a worker has served long enough. Limits get jitter, once, at birth (design, section 3, rule 4)."""

from __future__ import annotations

from random import Random

from coworker.model import RetireReason, WorkerRecord, WorkerState

JITTER = 0.1


def draw_count(limit: int, rng: Random) -> int:
    """A worker's own limit of items: `limit` less up to 10 %, at least 1; 0 stays 0 (no limit)."""
    return max(1, limit - round(limit * JITTER * rng.random())) if limit else 0


def draw_age(limit: float, rng: Random) -> float:
    """A worker's own limit of age in seconds: `limit` less up to 10 %; 0 stays 0 (no limit)."""
    return limit * (1.0 - JITTER * rng.random())


def expired(record: WorkerRecord, now: float) -> RetireReason | None:
    """The limit that this worker has reached, if any."""
    if record.max_requests and record.done >= record.max_requests:
        return RetireReason.MAX_REQUESTS
    if record.state is WorkerState.BOOTING:
        return None  # or one that boots for longer would never be of use
    if record.max_age and now >= record.started_at + record.max_age:
        return RetireReason.MAX_AGE
    return None
