"""The staff of one site: who boots, who retires, who has gone. What is wanted, policy.staffing says."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from coworker.config.settings import SiteSettings
from coworker.ipc.messages import Pause, Retire
from coworker.master.children import ReportSink
from coworker.master.deadlines import LEAVE_GRACE, Watchdog
from coworker.master.effects import Effects
from coworker.master.roster import Roster
from coworker.master.site_health import SiteHealth
from coworker.model import ExitStatus, Lifecycle, RetireReason, Role, WorkerRecord
from coworker.model import WorkerState as S
from coworker.policy import matching, recycling, staffing
from coworker.policy.staffing import Member, Plan, Wanted

OnCanary = Callable[[WorkerRecord, str | None], None]  # with the error, if it failed
BootDomain = Callable[[], int | None]
BOOT_GRACE = 10.0  # seconds beyond boot_timeout: the child itself ends a boot that takes too long
BOOT_SECONDS_GUESS = 1.0  # until the first boot was measured


@dataclass
class Staff:
    """The children of one site. `count`: how many workers it may have, `target`: should have now."""

    settings: SiteSettings
    effects: Effects
    roster: Roster
    health: SiteHealth
    watchdog: Watchdog
    sink: ReportSink
    generation: int = 1
    oldest: int = 1  # the generation from which on workers take orders (process rule 9)
    boot_seconds: float = BOOT_SECONDS_GUESS
    on_canary: OnCanary = lambda _record, _error: None  # a reload may listen

    def __post_init__(self) -> None:
        self.count = self.target = self.settings.workers.count
        self._log = self.effects.log.bind(site=self.settings.name)

    def free(self, now: float) -> list[WorkerRecord]:
        """The workers that can take an order."""
        overlap = self.settings.workers.overlap
        return [
            record
            for record in self.roster.workers()
            if record.life.state is S.READY
            and record.life.generation >= self.oldest
            and (overlap or recycling.expired(record, now) is None)
        ]

    def can_grow(self) -> bool:
        """Whether another worker may be added before one has to make room."""
        return sum(r.life.state is not S.RETIRING for r in self.roster.workers()) < self.count

    def can_join(self) -> bool:
        """Whether there is, or could be, one more worker for a queue."""
        return self.target < self.count or any(r.life.state is S.READY and r.slot for r in self.roster)

    def reconcile(
        self, now: float, *, waiting: int, workers_stop: bool, control: int, boot_domain: BootDomain
    ) -> None:
        """Bring the children nearer to what is wanted. `waiting`: how many more workers there is work for.

        `control`: 1 if it is wanted, 0 if it need not but may stay, -1 if it must leave. `boot_domain` is
        asked, before each boot of a worker, for the domain whose own pipe it boots with.
        """
        if not workers_stop:
            self._retarget(now, waiting)
        self._carry_out(Role.CONTROL, self._plan_control(now, control), now, lambda: None)
        self._carry_out(Role.WORKER, self._plan_workers(now, workers_stop), now, boot_domain)

    def _retarget(self, now: float, waiting: int) -> None:
        present = [r for r in self.roster.workers() if r.life.state is not S.RETIRING]
        limit = self.settings.workers.idle_timeout
        idle = [r for r in present if r.life.state is S.READY and limit and now >= r.life.idle_since + limit]
        self.target = staffing.retarget(
            target=self.target,
            count=self.count,
            min_idle=self.settings.workers.min_idle,
            present=len(present),
            timed_out=len(idle),
            waiting=waiting,
        )

    def _plan_control(self, now: float, control: int) -> Plan:
        wanted = Wanted(
            count=1,
            boot_budget=1,
            generation=self.generation,
            stopping=control < 0,
            may_boot=control > 0 and self._may_boot(now),
        )
        return staffing.plan(wanted, [_member(r, now) for r in self.roster.controls()])

    def _plan_workers(self, now: float, stops: bool) -> Plan:
        settings = self.settings.workers
        wanted = Wanted(
            count=self.target,
            boot_budget=settings.boot_budget,
            generation=self.generation,
            stopping=stops,
            overlap=settings.overlap,
            surplus_reason=RetireReason.IDLE if self.target < self.count else RetireReason.SURPLUS,
            may_boot=self._may_boot(now),
        )
        return staffing.plan(wanted, [_member(r, now) for r in self.roster.workers()])

    def _may_boot(self, now: float) -> bool:
        booting = sum(r.life.state is S.BOOTING and not r.life.canary for r in self.roster)
        return self.health.breaker.may_boot(now, booting)

    def _carry_out(self, role: Role, plan: Plan, now: float, boot_domain: BootDomain) -> None:
        for record_id, reason in plan.retire:
            record = self.roster.get(record_id)
            if record is not None:
                self.retire(record, reason, now)
        for _ in range(plan.boot):
            domain = boot_domain()
            if not self._may_boot(now):
                break
            try:
                self.boot(role, self.settings, now, boot_domain=domain)
            except OSError as error:
                self.health.boot_failed(f"cannot fork: {error.strerror}", now, started=now)
                break

    def boot(
        self,
        role: Role,
        settings: SiteSettings,
        now: float,
        *,
        canary: bool = False,
        boot_domain: int | None = None,
    ) -> WorkerRecord:
        """Fork a child. A canary boots with settings that are not in force yet. Raises OSError."""
        limits, rng = settings.workers, self.effects.rng
        record = WorkerRecord(
            id=self.effects.next_id(),
            slot=self.roster.free_slot(role),
            site=settings.name,
            role=role,
            started_at=now,
            max_requests=recycling.draw_count(limits.max_requests, rng) if role is Role.WORKER else 0,
            remote=settings.for_domain(boot_domain).is_remote,
            boot_domain=boot_domain,
            token=secrets.token_hex(16),
            life=Lifecycle(
                generation=self.generation,
                max_age=recycling.draw_age(limits.max_age, rng),
                idle_since=now,
                canary=canary,
                domain=boot_domain or self.roster.home_domain,
            ),
        )
        pid = self.effects.spawn(record, settings.for_domain(boot_domain), self.sink)
        self.roster.add(record, pid)
        self.watchdog.set(record, now + limits.boot_timeout + BOOT_GRACE)
        return record

    def adopt(self, settings: SiteSettings) -> None:
        """Take the settings of a reload. The canary is the first of the new generation.

        All others are replaced, whether their settings have changed or not.
        """
        self.settings = settings
        self.count = self.target = settings.workers.count
        self.bump_generation()
        self.roster.enlist_canaries(self.generation)

    def bump_generation(self, outdated: int = 0) -> None:
        """Have all children replaced, one after the other.

        If the code of those of generation `outdated`, and before, is not the site's any more, they take no
        orders meanwhile; and if that is not the present generation, those of the present one stay.
        """
        self.oldest = max(self.oldest, outdated + 1)
        if outdated in (0, self.generation):
            self.generation += 1

    def change_count(self, change: int) -> bool:
        """Have one worker more or less, until the next reload. Returns True: there is something to decide."""
        self.count = max(1, self.count + change)
        self.target = max(1, min(self.count, self.target + change))
        self._log.event("notice", "count_changed", workers=self.count)
        return True

    def pause_all(self) -> None:
        """Have the workers that are at work claim nothing more after their batch."""
        for record in self.roster.workers():
            if record.life.state is S.BUSY:
                self.effects.send(record, Pause())

    def make_room(self, wants: Sequence[matching.Want]) -> None:
        """Have a worker that is bound to another identity leave, if that helps."""
        victim = matching.evict(self.roster.workers(), wants, self.boot_seconds)
        if victim is not None:
            self.roster.expire(victim, RetireReason.IDENTITY)
            victim.life.log.event("debug", "evicting", identity=str(victim.work.identity))

    def ready(self, record: WorkerRecord, boot_seconds: float, now: float) -> None:
        """Note that the child has said hello."""
        self.roster.rest(record, now)
        self.watchdog.clear(record)
        self.boot_seconds = boot_seconds

    def retire(
        self, record: WorkerRecord, reason: RetireReason, now: float, *, at_once: bool = False
    ) -> None:
        """Tell the child to leave after its batch; one that boots, or `at_once`, does not wait."""
        life = record.life
        at_once = at_once or life.state is S.BOOTING
        idle = life.state is not S.BUSY
        if life.state is not S.RETIRING:
            self.roster.move(record, S.RETIRING, reason)
            life.log.event("debug", "retiring", reason=reason.value)
        elif not at_once:
            return
        self.effects.send(record, Retire(reason.value, at_once))
        if at_once:
            self.watchdog.told_to_end(record, now)
        elif idle:
            self.watchdog.set(record, now + LEAVE_GRACE)

    def gone(self, record: WorkerRecord, status: ExitStatus, now: float) -> None:
        """Note that the child has exited. A boot that ended without a word has failed.

        So, for the pause that follows, has a child that crashed: the next may do the same at once.
        """
        was = record.life.state
        self.roster.move(record, S.GONE)
        self.watchdog.forget(record)
        crashed = was is not S.RETIRING and bool(status.code)
        if (was is S.BOOTING or crashed) and not record.life.canary:
            message = f"the child {'ended while it booted' if was is S.BOOTING else 'crashed'} ({status})"
            self.health.boot_failed(message, now, started=record.started_at)

    def next_at(self, now: float) -> float:
        """When something changes by itself: an age or an idle time is reached, or a boot is due."""
        limits = self.settings.workers
        moments = [self.health.breaker.next_boot_at]
        for record in self.roster:
            if record.life.max_age:
                moments.append(record.started_at + record.life.max_age)
            if record.life.state is S.READY and limits.idle_timeout and self.target > limits.min_idle:
                moments.append(record.life.idle_since + limits.idle_timeout)
        return min((moment for moment in moments if moment > now), default=inf)


def _member(record: WorkerRecord, now: float) -> Member:
    return Member(
        record.id,
        record.life.state,
        record.life.generation,
        record.life.expired or recycling.expired(record, now),
        record.life.idle_since,
        record.timing.progress_at,
    )
