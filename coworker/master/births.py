"""The record of a child that is about to be forked."""

from __future__ import annotations

from coworker.config.settings import SiteSettings
from coworker.master.effects import Hands
from coworker.model import Role, WorkerRecord
from coworker.policy import recycling


def new_record(
    hands: Hands,
    settings: SiteSettings,
    role: Role,
    *,
    slot: int,
    generation: int,
    now: float,
    canary: bool = False,
    entry: int | None = None,
) -> WorkerRecord:
    """Its limits are drawn now. `entry`: the domain with whose own pipe it boots."""
    limits, worker = settings.workers, role is Role.WORKER
    return WorkerRecord(
        id=hands.next_id(),
        slot=slot,
        site=settings.name,
        role=role,
        generation=generation,
        born=now,
        max_requests=recycling.draw_count(limits.max_requests, hands.rng) if worker else 0,
        max_age=recycling.draw_age(limits.max_age, hands.rng),
        idle_since=now,
        canary=canary,
        remote=settings.for_domain(entry).is_remote,
        entry=entry,
        domain=entry,
    )
