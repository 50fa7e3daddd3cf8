"""Which worker serves which identity (identity rule 5). A pipe serves one domain, fixed at its boot, and is
bound for life by its first login or by its first system task; an item that runs under a wrong identity is
deleted by CiviCRM.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from coworker.model import SYSTEM, Identity, Item, RetireReason, WorkerRecord, WorkerState

STARVING = 5.0  # seconds that a queue may wait for a worker that fits while others are busy
CROWDED_DELAY = 10  # seconds until what a contact has no worker left for may be claimed again
HANDED_LIMIT = 2.0  # seconds that handed items may wait for their worker before they go back


def as_served(identity: Identity, domain: int | None) -> Identity:
    """The identity as a pipe of this domain knows it: the system's own tasks name their domain or do not.

    `domain` None: the pipe does not say which it serves.
    """
    ours = identity.domain is None or domain in (None, identity.domain)
    return SYSTEM if identity.contact is None and ours else identity


def serves_domain(domain: int | None, identity: Identity) -> bool:
    """Whether a pipe of this domain may run items of this identity."""
    return None in (domain, identity.domain) or domain == identity.domain


def split(
    items: Sequence[Item], bound: Identity | None, domain: int | None = None, *, bind: bool = True
) -> tuple[Identity | None, list[Item], list[Item]]:
    """The worker's own part of a batch and the rest, each in batch order.

    Returns (identity, mine, rest). An unbound worker takes the first identity that its domain may serve;
    unless it may `bind` by itself, that is no contact's. None: nothing of it is its own.
    """
    identity = bound
    if bound is None:
        own = (as_served(i.identity, domain) for i in items if serves_domain(domain, i.identity))
        identity = next((who for who in own if bind or who.contact is None), None)
    mine: list[Item] = []
    rest: list[Item] = []
    for item in items:
        # The items keep the identity that they came with: somebody in another domain may have to run them.
        is_mine = item.identity == identity or as_served(item.identity, domain) == identity
        (mine if is_mine else rest).append(item)
    return identity, mine, rest


def fits(record: WorkerRecord, identity: Identity | None, crowded: Collection[Identity] = ()) -> bool:
    """Whether the worker could run items of this identity; None: nobody knows of whom they are.

    `crowded` identities have as many workers as they may: only those serve them.
    """
    if identity is None:
        return True
    if not serves_domain(record.life.domain, identity):
        return False
    if record.work.identity is None:
        return identity not in crowded
    return as_served(identity, record.life.domain) == record.work.identity


def crowded(records: Iterable[WorkerRecord], limit: int) -> frozenset[Identity]:
    """The contacts that `limit` workers serve already, or have been sent items of; a limit of 0 is none."""
    if not limit:
        return frozenset()
    served = Counter(record.work.identity or record.work.promised for record in records)
    return frozenset(who for who, count in served.items() if who and who.contact and count >= limit)


def hint(last: Identity | None, waited: float, full: Collection[Identity]) -> Identity | None:
    """Of whom a queue's next items probably are, whose last ones were of `last`; None: anybody may try.

    Behind items of a contact that has no worker left there may be others': now and then somebody looks.
    """
    return None if last in full and waited >= STARVING else last


def choose(
    free: Iterable[WorkerRecord], queue: str, probably: Identity | None, full: Collection[Identity] = ()
) -> WorkerRecord | None:
    """The free worker for the next slice of a queue whose items are `probably` of that identity.

    The one that knows the queue, else one of that identity, else an unbound one; never one that would only
    claim to hand on. Between equals the one that waited longest. `full`: see `crowded`.
    """

    def rank(record: WorkerRecord) -> tuple[int, float]:
        if record.work.last_queue == queue:
            return 0, record.life.idle_since
        return (2 if record.work.identity is None else 1), record.life.idle_since

    return min((record for record in free if fits(record, probably, full)), key=rank, default=None)


def place(
    identity: Identity, free: Iterable[WorkerRecord], full: Collection[Identity] = ()
) -> WorkerRecord | None:
    """The free worker for handed items: one of their identity, else an unbound one, else none."""
    unbound = None
    for record in free:
        if fits(record, identity, full):
            if record.work.identity is not None:
                return record
            unbound = record
    return unbound


@dataclass(frozen=True, slots=True)
class Want:
    """Work that no free worker fits. `handed`: it is claimed already; `waited` in seconds."""

    identity: Identity
    waited: float
    handed: bool


def unserved(records: Sequence[WorkerRecord], wants: Iterable[Want]) -> list[Want]:
    """Those of `wants` for which no help is coming.

    Help is who boots, is unbound and free, or shall make room for one that is. Each helps one.
    """
    helpers = [
        r
        for r in records
        if r.life.state is WorkerState.BOOTING
        or (r.life.state is WorkerState.READY and r.work.identity is None)
        or (r.life.state is not WorkerState.RETIRING and r.life.expired is RetireReason.IDENTITY)
    ]
    left = []
    for want in wants:
        helper = next((r for r in helpers if _helps(r, want)), None)
        if helper is None:
            left.append(want)
        else:
            helpers.remove(helper)
    return left


def _helps(record: WorkerRecord, want: Want) -> bool:
    """Who makes room does so for any domain: its successor boots for the one that is wanted."""
    return record.life.expired is RetireReason.IDENTITY or serves_domain(record.life.domain, want.identity)


def domain_to_boot(
    records: Sequence[WorkerRecord], wants: Sequence[Want], domains: Collection[int]
) -> int | None:
    """For which of these `domains`, that have their own pipes, the next worker boots; None: for the site's.

    That of the work that waits longest and that nobody who boots or is unbound could do.
    """
    helpers = [r for r in records if r.life.state is WorkerState.BOOTING or r.work.identity is None]
    for want in sorted(wants, key=lambda want: -want.waited):
        helper = next((r for r in helpers if serves_domain(r.life.domain, want.identity)), None)
        if helper is not None:
            helpers.remove(helper)
        else:
            return want.identity.domain if want.identity.domain in domains else None
    return None


def evict(records: Sequence[WorkerRecord], wants: Sequence[Want], boot_seconds: float) -> WorkerRecord | None:
    """Whom to replace by an unbound worker, so that one of `wants` is served.

    If somebody fits but is busy, only after about one boot time, since it may come free meanwhile. Never
    more than are needed: see `unserved`. Idle ones go, the least recently used first; a busy one only for
    what is claimed already, or starves.
    """
    present = [r for r in records if r.life.state in (WorkerState.READY, WorkerState.BUSY)]
    bound = [r for r in present if r.work.identity is not None]
    needy = [w for w in wants if w.waited >= boot_seconds or not any(fits(r, w.identity) for r in bound)]
    candidates = [r for r in present if r.life.expired is None]
    if unserved(records, needy):
        unfit = [r for r in candidates if not any(fits(r, want.identity) for want in wants)]
        idle = [r for r in unfit if r.life.state is WorkerState.READY]
        if idle:
            return min(idle, key=lambda r: r.life.idle_since)
    urgent = _urgent(needy)
    if unserved(records, urgent):
        unfit = [r for r in candidates if not any(fits(r, want.identity) for want in urgent)]
        busy = [r for r in unfit if r.life.state is WorkerState.BUSY]
        return min(busy, key=lambda r: r.life.idle_since, default=None)
    return None


def _urgent(needy: Sequence[Want]) -> list[Want]:
    """For what somebody busy makes room: what is claimed already, and the queue that has starved longest.

    Other queues have their turns: what they want keeps nobody from making room.
    """
    starving = [want for want in needy if not want.handed and want.waited >= STARVING]
    return [*(want for want in needy if want.handed), *sorted(starving, key=lambda want: want.waited)[-1:]]
