"""How many children a site should have: which to boot, which to retire.

It is asked for the workers of a site and, with a count of one, for its control. Stop and reload need no path
of their own: they change `stopping` or `generation`, and the next step does the rest (process rule 3).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from coworker.model import RetireReason, WorkerState

ALIVE = (WorkerState.READY, WorkerState.BUSY)


@dataclass(frozen=True, slots=True)
class Member:
    """One child, as far as staffing cares. Times are monotonic seconds."""

    id: int
    state: WorkerState
    generation: int
    expired: RetireReason | None = None
    idle_since: float = 0.0
    progress_at: float = 0.0  # when it last reported: a worker with a long task goes last


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a site should have; see `plan`. `may_boot`: neither a backoff nor the breaker forbids it."""

    count: int
    boot_budget: int
    generation: int
    stopping: bool = False
    overlap: bool = True
    surplus_reason: RetireReason = RetireReason.SURPLUS
    may_boot: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """How many to boot, and whom to retire for which reason, by id."""

    boot: int = 0
    retire: list[tuple[int, RetireReason]] = field(default_factory=list)


def plan(wanted: Wanted, members: list[Member]) -> Plan:
    """What to do now. Successors boot before those that they replace retire; the total stays within count +
    boot_budget, those included that still finish their last batch.
    """
    present = [m for m in members if m.state not in (WorkerState.RETIRING, WorkerState.GONE)]
    if wanted.stopping:
        return Plan(0, [(m.id, RetireReason.SHUTDOWN) for m in present])
    stale = [m for m in present if _why_stale(m, wanted) is not None]
    fresh = [m for m in present if _why_stale(m, wanted) is None]
    retire = _retire_stale(wanted, stale, fresh) + _retire_surplus(wanted, fresh)
    going = {member_id for member_id, _ in retire}
    staying = [m for m in present if m.id not in going]
    missing = wanted.count - len([m for m in fresh if m.id not in going])
    if not wanted.overlap:
        missing = wanted.count - len(staying)
    booting = sum(m.state is WorkerState.BOOTING for m in staying)
    # A child that retires still has its memory; without overlap it also has its place.
    leaving = len(members) - len(present) + len(going)
    room = wanted.count + (wanted.boot_budget if wanted.overlap else 0) - len(staying) - leaving
    boot = min(missing, wanted.boot_budget - booting, room) if wanted.may_boot else 0
    return Plan(max(0, boot), retire)


def _why_stale(member: Member, wanted: Wanted) -> RetireReason | None:
    return RetireReason.RELOAD if member.generation != wanted.generation else member.expired


def _retire_stale(wanted: Wanted, stale: list[Member], fresh: list[Member]) -> list[tuple[int, RetireReason]]:
    """Retire old ones as far as new ones have taken their place: idle ones first, then those whose last
    report is newest, so that the one with an hour-long task goes last.
    """
    booting = [m for m in stale if m.state is WorkerState.BOOTING]
    alive = sorted(
        (m for m in stale if m.state in ALIVE),
        key=lambda m: (m.state is WorkerState.BUSY, -m.progress_at),
    )
    ready_fresh = sum(m.state in ALIVE for m in fresh)
    allowed = len(alive) + ready_fresh - wanted.count if wanted.overlap else len(alive)
    chosen = booting + alive[: max(0, allowed)]
    return [(m.id, _why_stale(m, wanted) or RetireReason.RELOAD) for m in chosen]


def _retire_surplus(wanted: Wanted, fresh: list[Member]) -> list[tuple[int, RetireReason]]:
    """Retire what is more than wanted: those that boot (they do nothing yet), then the longest idle, then of
    the busy those whose last report is newest.
    """
    surplus = len(fresh) - wanted.count
    if surplus <= 0:
        return []
    ranked = sorted(fresh, key=_dispensable)
    return [(m.id, wanted.surplus_reason) for m in ranked[:surplus]]


def _dispensable(member: Member) -> tuple[int, float]:
    if member.state is WorkerState.BUSY:
        return 2, -member.progress_at
    return int(member.state is not WorkerState.BOOTING), member.idle_since


def retarget(*, target: int, count: int, min_idle: int, present: int, timed_out: int, waiting: int) -> int:
    """How many workers to keep: down to `min_idle` when they are idle, up to `count` when work waits.

    `timed_out`: how many were idle for idle_timeout. `waiting`: wants that no free or booting worker serves.
    """
    if waiting > 0:
        return max(1, min(count, max(target, present + waiting)))
    if timed_out > 0:
        return max(min(min_idle, count), min(target, count) - timed_out)
    return min(target, count)
