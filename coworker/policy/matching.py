"""Which worker serves which identity (design, section 5). A pipe is bound for life by its first login
or by its first system task; an item that runs under a wrong identity is deleted by CiviCRM.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from coworker.model import Identity, Item, RetireReason, WorkerRecord, WorkerState

HANDED_LIMIT = 2.0  # seconds that handed items may wait for their worker before they go back


def split(items: Sequence[Item], bound: Identity | None) -> tuple[Identity | None, list[Item], list[Item]]:
    """The worker's own part of a batch and the rest, each in batch order.

    Returns (identity, mine, rest). An unbound worker takes the identity of the first item.
    """
    identity = items[0].identity if bound is None and items else bound
    mine = [item for item in items if item.identity == identity]
    rest = [item for item in items if item.identity != identity]
    return identity, mine, rest


def choose(free: Iterable[WorkerRecord], queue: str, hint: Identity | None) -> WorkerRecord | None:
    """The free worker for the next slice of a queue: the one that knows the queue, else one of the
    identity last seen there, else an unbound one, else the one that waited longest.
    """

    def rank(record: WorkerRecord) -> tuple[int, float]:
        if record.last_queue == queue and hint in (None, record.identity):
            return 0, record.idle_since
        if hint is not None and record.identity == hint:
            return 1, record.idle_since
        return (2 if record.identity is None else 3), record.idle_since

    return min(free, key=rank, default=None)


def place(identity: Identity, free: Iterable[WorkerRecord]) -> WorkerRecord | None:
    """The free worker for handed items: one of their identity, else an unbound one, else none."""
    unbound = None
    for record in free:
        if record.identity == identity:
            return record
        if record.identity is None:
            unbound = record
    return unbound


def evict(
    records: Iterable[WorkerRecord], waiting: int, waited: float, boot_seconds: float
) -> WorkerRecord | None:
    """Whom to replace by an unbound worker when `waiting` identities have nobody to serve them.

    Only after about one boot time, since a bound worker may come free meanwhile; never more than are needed:
    those that boot, are unbound or on their way out count as help that is coming. Least recently used first.
    """
    candidates = []
    for record in records:
        if record.state is WorkerState.BOOTING or record.expired is RetireReason.IDENTITY:
            waiting -= 1
        elif record.state in (WorkerState.READY, WorkerState.BUSY):
            if record.identity is None:
                waiting -= 1
            else:
                candidates.append(record)
    if waiting <= 0 or waited < boot_seconds:
        return None
    return min(candidates, key=lambda r: (r.state is WorkerState.BUSY, r.idle_since), default=None)
