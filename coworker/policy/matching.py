"""Which worker serves which identity (identity rule 5).

A pipe serves one domain, fixed at its boot, and its first login or first system task binds it for life. An
item that runs under a wrong identity is deleted by CiviCRM.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from coworker.model import SYSTEM, Identity, Item, RetireReason, WorkerRecord, WorkerState

STARVING = 5.0  # seconds that a queue may wait for a worker that fits while others are busy


def as_served(identity: Identity, domain: int | None) -> Identity:
    """The identity as a pipe of this domain knows it: the system's own tasks may name the domain or not.

    `domain` None: the pipe does not say which it serves.
    """
    ours = identity.domain is None or domain in (None, identity.domain)
    return SYSTEM if identity.contact is None and ours else identity


def serves_domain(domain: int | None, identity: Identity) -> bool:
    """Whether a pipe of this domain may run items of this identity."""
    return None in (domain, identity.domain) or domain == identity.domain


def split(
    items: Sequence[Item], bound: Identity | None, domain: int | None = None, *, bind: bool = True
) -> tuple[list[Item], list[Item]]:
    """Split a batch into the worker's own part and the rest, each in batch order: (mine, rest).

    An unbound worker takes the first identity that its domain may serve, and if it may not `bind` by itself,
    the first that is not a contact's.
    """
    identity = bound
    if bound is None:
        own = (as_served(i.identity, domain) for i in items if serves_domain(domain, i.identity))
        identity = next((who for who in own if bind or who.contact is None), None)
    mine: list[Item] = []
    rest: list[Item] = []
    for item in items:
        # The items keep the identity that they came with: a worker in another domain may have to run them.
        is_mine = item.identity == identity or as_served(item.identity, domain) == identity
        (mine if is_mine else rest).append(item)
    return mine, rest


def fits(record: WorkerRecord, identity: Identity | None, crowded: Collection[Identity] = ()) -> bool:
    """Whether the worker could run items of this identity; None: it is not known whose they are.

    `crowded` identities have as many workers as they may: only those workers can serve them.
    """
    if identity is None:
        return True
    if not serves_domain(record.life.domain, identity):
        return False
    if record.work.identity is None:
        return identity not in crowded
    return as_served(identity, record.life.domain) == record.work.identity


def crowded(records: Iterable[WorkerRecord], limit: int) -> frozenset[Identity]:
    """The contacts that `limit` workers serve already, or have been sent items of; 0 is no limit."""
    if not limit:
        return frozenset()
    served = Counter(record.work.identity or record.work.promised for record in records)
    return frozenset(who for who, count in served.items() if who and who.contact and count >= limit)


def hint(last: Identity | None, waited: float, full: Collection[Identity]) -> Identity | None:
    """The identity that a queue's next items probably have: its `last` ones'; None: any worker may have it.

    Behind items of a contact at its limit (`full`) there may be those of others: in the end any may have it.
    """
    return None if last in full and waited >= STARVING else last


def choose(
    free: Iterable[WorkerRecord], queue: str, probably: Identity | None, full: Collection[Identity] = ()
) -> WorkerRecord | None:
    """The free worker for the next slice of a queue whose items are `probably` of that identity.

    It is the one that worked the queue last, else one of that identity, else an unbound one, but never one
    that would only claim to hand off. Among equals it is the one that waited longest. `full`: see `crowded`.
    """

    def rank(record: WorkerRecord) -> tuple[int, float]:
        if record.work.last_queue == queue:
            return 0, record.life.idle_since
        return (2 if record.work.identity is None else 1), record.life.idle_since

    return min((record for record in free if fits(record, probably, full)), key=rank, default=None)


def place(
    identity: Identity, free: Iterable[WorkerRecord], full: Collection[Identity] = ()
) -> WorkerRecord | None:
    """The free worker for handed items: one of their identity, else an unbound one, else None."""
    unbound = None
    for record in free:
        if fits(record, identity, full):
            if record.work.identity is not None:
                return record
            unbound = record
    return unbound


@dataclass(frozen=True, slots=True)
class Want:
    """Work that no free worker fits. `handed`: it is claimed already; `waited` is in seconds."""

    identity: Identity
    waited: float
    handed: bool


def unserved(records: Sequence[WorkerRecord], wants: Iterable[Want]) -> list[Want]:
    """Those of `wants` that nothing will come to serve.

    A worker that boots, that is unbound and free, or that is to make room for an unbound one serves one want.
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
    """Whether the worker serves the want. One that makes room does: its successor boots for any domain."""
    return record.life.expired is RetireReason.IDENTITY or serves_domain(record.life.domain, want.identity)


def domain_to_boot(
    records: Sequence[WorkerRecord], wants: Sequence[Want], domains: Collection[int]
) -> int | None:
    """The one of these `domains` (with own pipes) for which the next worker boots; None: the site's own.

    It is the domain of the want that has waited longest and that no booting or unbound worker could serve.
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
    """The worker to replace by an unbound one, so that one of `wants` is served; None if none need go.

    Where a worker fits but is busy, none goes until about one boot time has passed: it may come free. No more
    go than are needed (see `unserved`). Idle workers go, the least recently used first; a busy one goes only
    for what is claimed already, or for a queue that starves.
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
    """The wants for which a busy worker makes room: what is claimed already, and the longest starving queue.

    Other queues get their turns, so a worker that fits only them may be the one to go.
    """
    starving = [want for want in needy if not want.handed and want.waited >= STARVING]
    return [*(want for want in needy if want.handed), *sorted(starving, key=lambda want: want.waited)[-1:]]
