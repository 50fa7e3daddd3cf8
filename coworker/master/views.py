"""Read-only pictures of what the master knows, for whoever shows it: titles, status, why, metrics.

They are values: a view does not change any more, and what is done to it does not reach the master. All times
are monotonic seconds. A whole picture of 64 workers and 1,000 queues takes less than a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from coworker.master.ledger import Claim, Place
from coworker.master.site import Site
from coworker.model import Identity, MasterPhase, RetireReason, Role, WorkerRecord, WorkerState
from coworker.policy.scheduling import QueueState


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """Whether a site is worked, and if not, why. `down_since` and `held_since` are None if it is not so."""

    name: str
    phase: MasterPhase
    down_since: float | None
    down_reason: str
    held_since: float | None
    holds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChildView:
    """One child of a site. `number` is 0 for control; `running` names a claim, `left` counts its items."""

    id: int
    number: int
    role: Role
    pid: int
    pipe_group: int
    state: WorkerState
    reason: RetireReason | None
    canary: bool
    identity: Identity | None
    domain: int | None
    queue: str | None
    claiming: str | None
    running: str | None
    left: int
    done: int
    started_at: float
    idle_since: float
    progress_at: float
    deadline: float
    last_words: str


@dataclass(frozen=True, slots=True)
class ClaimView:
    """The open items of one claim that are in one place. `worker`: the id of the child that has them."""

    claim: str
    queue: str
    place: Place
    worker: int
    items: tuple[str, ...]
    claimed_at: float
    lease_until: float


@dataclass(frozen=True, slots=True)
class SiteView:
    """One site: its status, its children, the queues that have or had work, and all claims that are open.

    `target`: how many workers it should have now; `settling`: how many settlements are under way.
    """

    status: SiteStatus
    target: int
    next_boot_at: float
    recovering: bool
    settling: int
    children: tuple[ChildView, ...]
    queues: tuple[QueueState, ...]
    claims: tuple[ClaimView, ...]


def status(site: Site) -> SiteStatus:
    """The status of one site; cheap enough for every turn of the loop."""
    health = site.health
    return SiteStatus(
        name=site.settings.name,
        phase=site.phase,
        down_since=health.breaker.open_since,
        down_reason=health.breaker.reason if health.is_down else "",
        held_since=health.held_since if health.held else None,
        holds=tuple(hold.reason for hold in health.holds),
    )


def snapshot(sites: Iterable[Site]) -> tuple[SiteView, ...]:
    """The views of these sites as they are now."""
    return tuple(_site(site) for site in sites)


def _site(site: Site) -> SiteView:
    settler = site.dispatch.settler
    return SiteView(
        status=status(site),
        target=site.staff.target,
        next_boot_at=site.health.breaker.next_boot_at,
        recovering=site.recovery.active,
        settling=len(settler.settlements.pending),
        children=tuple(_child(record) for record in site.roster),
        queues=tuple(site.dispatch.queues.states.values()),
        claims=tuple(part for claim in site.dispatch.ledger.claims.values() for part in _parts(claim)),
    )


def _child(record: WorkerRecord) -> ChildView:
    life, work, timing = record.life, record.work, record.timing
    return ChildView(
        id=record.id,
        number=record.slot,
        role=record.role,
        pid=life.pid,
        pipe_group=life.pipe_group,
        state=life.state,
        reason=life.retire_reason or life.expired,
        canary=life.canary,
        identity=work.identity,
        domain=life.domain,
        queue=work.queue,
        claiming=work.claiming,
        running=timing.running,
        left=timing.running_left if timing.running else 0,
        done=work.done,
        started_at=record.started_at,
        idle_since=life.idle_since,
        progress_at=timing.progress_at,
        deadline=timing.deadline or inf,
        last_words=life.last_words,
    )


def _parts(claim: Claim) -> list[ClaimView]:
    """The views of a claim, one for each place where items of it are."""
    items: dict[tuple[Place, int], list[str]] = {}
    for item_id, entry in claim.entries.items():
        items.setdefault((entry.place, entry.worker), []).append(item_id)
    until = claim.lease_from + claim.queue.lease_time
    return [
        ClaimView(claim.id, claim.queue.name, place, worker, tuple(ids), claim.claimed_at, until)
        for (place, worker), ids in items.items()
    ]
