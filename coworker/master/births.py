"""The record of a child that is about to be forked."""

from __future__ import annotations

from coworker.config.settings import SiteSettings
from coworker.master.effects import Effects
from coworker.model import Role, WorkerRecord
from coworker.policy import recycling


def new_record(
    effects: Effects,
    settings: SiteSettings,
    role: Role,
    *,
    slot: int,
    generation: int,
    now: float,
    canary: bool = False,
    boot_domain: int | None = None,
) -> WorkerRecord:
    """Its limits are drawn now. `boot_domain`: the domain with whose own pipe it boots."""
    limits, worker = settings.workers, role is Role.WORKER
    return WorkerRecord(
        id=effects.next_id(),
        slot=slot,
        site=settings.name,
        role=role,
        generation=generation,
        started_at=now,
        max_requests=recycling.draw_count(limits.max_requests, effects.rng) if worker else 0,
        max_age=recycling.draw_age(limits.max_age, effects.rng),
        idle_since=now,
        canary=canary,
        remote=settings.for_domain(boot_domain).is_remote,
        boot_domain=boot_domain,
        domain=boot_domain,
    )
