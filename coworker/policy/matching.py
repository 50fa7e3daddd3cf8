"""Which worker serves which identity (design, section 5). A pipe is bound for life by its first login
or by its first system task; an item that runs under a wrong identity is deleted by CiviCRM.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coworker.model import Identity, Item, RetireReason, WorkerRecord, WorkerState

STARVING = 5.0  # seconds that a queue may wait for a worker that fits while others are busy
HANDED_LIMIT = 2.0  # seconds that handed items may wait for their worker before they go back


def split(items: Sequence[Item], bound: Identity | None) -> tuple[Identity | None, list[Item], list[Item]]:
    """The worker's own part of a batch and the rest, each in batch order.

    Returns (identity, mine, rest). An unbound worker takes the identity of the first item.
    """
    identity = items[0].identity if bound is None and items else bound
    mine = [item for item in items if item.identity == identity]
    rest = [item for item in items if item.identity != identity]
    return identity, mine, rest


def fits(record: WorkerRecord, identity: Identity | None) -> bool:
    """Whether the worker could run items of this identity; None: nobody knows of whom they are."""
    return identity is None or record.identity is None or record.identity == identity


def choose(free: Iterable[WorkerRecord], queue: str, hint: Identity | None) -> WorkerRecord | None:
    """The free worker for the next slice of a queue whose items were last of the identity `hint`.

    The one that knows the queue, else one of that identity, else an unbound one; never one that would only
    claim to hand on. Between equals the one that waited longest.
    """

    def rank(record: WorkerRecord) -> tuple[int, float]:
        if record.last_queue == queue:
            return 0, record.idle_since
        return (2 if record.identity is None else 1), record.idle_since

    return min((record for record in free if fits(record, hint)), key=rank, default=None)


def place(identity: Identity, free: Iterable[WorkerRecord]) -> WorkerRecord | None:
    """The free worker for handed items: one of their identity, else an unbound one, else none."""
    unbound = None
    for record in free:
        if record.identity == identity:
            return record
        if record.identity is None:
            unbound = record
    return unbound


@dataclass(frozen=True, slots=True)
class Want:
    """Work that no free worker fits. `handed`: it is claimed already; `waited` in seconds."""

    identity: Identity
    waited: float
    handed: bool


def evict(records: Sequence[WorkerRecord], wants: Sequence[Want], boot_seconds: float) -> WorkerRecord | None:
    """Whom to replace by an unbound worker, so that one of `wants` is served.

    If somebody fits but is busy, only after about one boot time, since it may come free meanwhile. Never
    more than are needed: those that boot, are unbound or on their way out are help that is coming. Idle
    ones go, the least recently used first; a busy one only for what is claimed already, or starves.
    """
    present = [r for r in records if r.state in (WorkerState.READY, WorkerState.BUSY)]
    served = {r.identity for r in present}
    needy = [want for want in wants if want.waited >= boot_seconds or want.identity not in served]
    coming = sum(
        r.state is WorkerState.BOOTING
        or (r.state is WorkerState.READY and r.identity is None)
        or (r in present and r.expired is RetireReason.IDENTITY)
        for r in records
    )
    candidates = [r for r in present if r.identity is not None and r.expired is None]
    if len(needy) > coming:
        wanted = {want.identity for want in wants}
        idle = [r for r in candidates if r.state is WorkerState.READY and r.identity not in wanted]
        if idle:
            return min(idle, key=lambda r: r.idle_since)
    urgent = _urgent(needy)
    if len(urgent) > coming:
        kept = {want.identity for want in urgent}
        busy = [r for r in candidates if r.state is WorkerState.BUSY and r.identity not in kept]
        return min(busy, key=lambda r: r.idle_since, default=None)
    return None


def _urgent(needy: Sequence[Want]) -> list[Want]:
    """For what somebody busy makes room: what is claimed already, and the queue that has starved longest.

    Other queues have their turns: what they want keeps nobody from making room.
    """
    starving = [want for want in needy if not want.handed and want.waited >= STARVING]
    return [*(want for want in needy if want.handed), *sorted(starving, key=lambda want: want.waited)[-1:]]
