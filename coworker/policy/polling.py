"""How often to look for work: see poll_interval in doc/config.md."""

from __future__ import annotations

from collections.abc import Iterable

from coworker.policy.scheduling import QueueState

SHARE = 0.02  # of the time, at most, is spent on looks
EMPTY_PATIENCE = 2  # orders in a row that found nothing before a queue counts as paused
EMPTY_DELAY = 1.0  # seconds between claims from such a queue


def interval(look_seconds: float, poll_interval: float, poll_interval_max: float) -> float:
    """The seconds until the next look, when the last one took `look_seconds`."""
    return min(max(poll_interval, look_seconds / SHARE), poll_interval_max)


def skip(queues: Iterable[QueueState], now: float, free: bool, poll_interval: float) -> list[str]:
    """The queues that need no look: at their limit, or proved to have work by the batches they give.

    Without a free worker every queue that is worked on is skipped; so is one that backs off.
    """
    return [
        queue.info.name
        for queue in queues
        if now < queue.retry_at
        or (queue.working and (not free or queue.full or now - queue.progress_at < poll_interval))
    ]
