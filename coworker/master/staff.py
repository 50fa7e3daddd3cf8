"""The children of one site: who boots, who must leave, who has gone. The decisions are policy.staffing's."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from math import inf

from coworker.config.settings import SiteSettings
from coworker.ipc.messages import Retire
from coworker.master.births import new_record
from coworker.master.effects import Effects
from coworker.master.roster import Roster
from coworker.model import ExitStatus, RetireReason, Role, WorkerRecord
from coworker.model import WorkerState as S
from coworker.policy import escalation, recycling, staffing
from coworker.policy.backoff import Breaker
from coworker.policy.staffing import Member, Plan, Wanted
from coworker.unix.process_group import signal_group

Spawn = Callable[[WorkerRecord, SiteSettings], None]  # forks the child of a record; raises OSError
BOOT_GRACE = 10.0  # seconds beyond boot_timeout: the child itself ends a boot that takes too long
LEAVE_GRACE = 10.0  # seconds for a child with nothing to do to end its pipe and go
BOOT_SECONDS_GUESS = 1.0  # until the first boot was measured


class Staff:
    """`count` is how many workers the site should have at most, `target` how many it should have now."""

    def __init__(self, settings: SiteSettings, effects: Effects, spawn: Spawn) -> None:
        self.settings = settings
        self.effects = effects
        self._spawn = spawn
        self.roster = Roster()
        self.breaker = Breaker()
        self.generation = 1
        self.count = self.target = settings.workers.count
        self.boot_seconds = BOOT_SECONDS_GUESS
        self.home_domain: int | None = None  # that the site's own pipe serves, once one has said so
        self.domain_wanted: Callable[[], int | None] = lambda: None  # whose pipe the next worker boots with
        self._rungs: dict[int, int] = {}  # child → steps of the ladder taken

    # --- who is there ---

    def workers(self) -> list[WorkerRecord]:
        return [r for r in self.roster.of(Role.WORKER) if not r.canary]

    def free(self, now: float) -> list[WorkerRecord]:
        """Workers that can take an order."""
        overlap = self.settings.workers.overlap
        return [
            record
            for record in self.workers()
            if record.state is S.READY and (overlap or recycling.expired(record, now) is None)
        ]

    def can_grow(self) -> bool:
        """Whether another worker may be added before one has to make room."""
        return sum(r.state is not S.RETIRING for r in self.workers()) < self.count

    def can_join(self) -> bool:
        """Whether there is, or could be, one more worker for a queue."""
        return self.target < self.count or any(r.state is S.READY and r.slot for r in self.roster)

    def control(self) -> WorkerRecord | None:
        """The control that takes orders: the newest, while another is on its way out."""
        ready = [r for r in self.roster.of(Role.CONTROL) if r.state is S.READY]
        return ready[-1] if ready else None

    # --- one step of reconciling ---

    def reconcile(self, now: float, *, waiting: int, workers_stop: bool, control: int) -> None:
        """Bring the children nearer to what is wanted. `waiting`: work that nobody is there for, nor coming.

        `control`: 1 wanted, 0 not needed but welcome to stay, -1 it shall leave.
        """
        if not workers_stop:
            self._retarget(now, waiting)
        self._carry_out(Role.CONTROL, self._plan_control(now, control), now)
        self._carry_out(Role.WORKER, self._plan_workers(now, workers_stop), now)

    def _retarget(self, now: float, waiting: int) -> None:
        present = [r for r in self.workers() if r.state is not S.RETIRING]
        limit = self.settings.workers.idle_timeout
        idle = [r for r in present if r.state is S.READY and limit and now >= r.idle_since + limit]
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
        return staffing.plan(wanted, [self._member(r, now) for r in self.roster.of(Role.CONTROL)])

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
        return staffing.plan(wanted, [self._member(r, now) for r in self.workers()])

    def _member(self, record: WorkerRecord, now: float) -> Member:
        return Member(
            record.id,
            record.state,
            record.generation,
            record.expired or recycling.expired(record, now),
            record.idle_since,
            record.progress_at,
        )

    def _may_boot(self, now: float) -> bool:
        booting = sum(r.state is S.BOOTING and not r.canary for r in self.roster)
        return self.breaker.may_boot(now, booting)

    def _carry_out(self, role: Role, plan: Plan, now: float) -> None:
        for record_id, reason in plan.retire:
            record = self.roster.get(record_id)
            if record is not None:
                self.retire(record, reason, now)
        for _ in range(plan.boot):
            boot_domain = self.domain_wanted() if role is Role.WORKER else None
            if not self._may_boot(now) or self.boot(role, now, boot_domain=boot_domain) is None:
                break

    # --- what is done to one child ---

    def boot(
        self, role: Role, now: float, *, canary: bool = False, boot_domain: int | None = None
    ) -> WorkerRecord | None:
        """Fork a child; a canary is one of the next generation. None when that is impossible now."""
        where = {"slot": self.roster.free_slot(role), "generation": self.generation}
        record = new_record(
            self.effects, self.settings, role, **where, now=now, canary=canary, boot_domain=boot_domain
        )
        record.domain = record.domain or self.home_domain
        try:
            self._spawn(record, self.settings.for_domain(boot_domain))
        except OSError as error:
            self.boot_failed(f"cannot fork: {error.strerror}", now, begun=now)
            return None
        self.roster.add(record)
        self.effects.timers.set(("child", record.id), now + self.settings.workers.boot_timeout + BOOT_GRACE)
        return record

    def boot_canary(self, settings: SiteSettings, now: float, boot_domain: int | None) -> WorkerRecord | None:
        """Boot one worker with settings that are not in force yet."""
        mine, self.settings = self.settings, settings
        try:
            return self.boot(Role.WORKER, now, canary=True, boot_domain=boot_domain)
        finally:
            self.settings = mine

    def adopt(self, settings: SiteSettings) -> None:
        """New settings are in force. The canary is the first of the new generation."""
        self.settings = settings
        self.generation += 1
        self.count = self.target = settings.workers.count
        self.breaker = replace(self.breaker, next_boot_at=0.0)  # it may be just what was mended
        for record in self.roster:
            if record.canary:
                record.canary = False
                record.generation = self.generation

    def bump_generation(self) -> None:
        """All who are there shall be replaced, as after a reload but with the same settings."""
        self.generation += 1

    def change_count(self, change: int) -> None:
        """One worker more or less, until the next reload."""
        self.count = max(1, self.count + change)
        self.target = max(1, min(self.count, self.target + change))
        self.effects.log("notice", "count_changed", site=self.settings.name, workers=self.count)

    def ready(self, record: WorkerRecord, boot_seconds: float, now: float) -> None:
        """It said hello. A canary proves only the settings to come."""
        self.roster.move(record, S.READY)
        record.idle_since = record.progress_at = now
        self.effects.timers.cancel(("child", record.id))
        self.boot_seconds = boot_seconds
        if not record.canary:
            if self.breaker.is_open:
                down = round(now - (self.breaker.open_since or now), 1)
                self.effects.log("notice", "site_up", site=self.settings.name, down_seconds=down)
            self.breaker = self.breaker.succeeded()

    def boot_failed(self, message: str, now: float, *, begun: float, retry_after: float = 0.0) -> None:
        """Back off; after some in a row the site counts as down (design, section 3, rule 7)."""
        before = self.breaker
        self.breaker = before.failed(now, message, self.effects.rng, begun=begun)
        if retry_after:
            later = max(self.breaker.next_boot_at, now + retry_after)
            self.breaker = replace(self.breaker, next_boot_at=later)
        counted = self.breaker.failures > before.failures
        repeated = before.reason == message and (before.is_open or not counted)
        self.effects.log(
            "debug" if repeated else "error",
            "boot_failed",
            site=self.settings.name,
            reason=message,
            failures=self.breaker.failures,
            retry_seconds=round(max(0.0, self.breaker.next_boot_at - now), 1),
        )
        if self.breaker.is_open and not before.is_open:
            what = "nothing is claimed; one boot is tried every few seconds"
            self.effects.log("critical", "site_down", site=self.settings.name, reason=message, what=what)

    def retire(
        self, record: WorkerRecord, reason: RetireReason, now: float, *, at_once: bool = False
    ) -> None:
        """Tell it to leave after its batch; one that boots, or `at_once`, need not wait."""
        at_once = at_once or record.state is S.BOOTING
        idle = record.state is not S.BUSY
        if record.state is not S.RETIRING:
            self.roster.move(record, S.RETIRING, reason)
            who = {"role": record.role.value, "worker": record.slot or None, "pid": record.pid}
            self.effects.log("debug", "retiring", site=record.site, **who, reason=reason.value)
        elif not at_once:
            return
        self.effects.send(record, Retire(reason.value, at_once))
        if at_once:
            self._rungs[record.id] = 1
            self.effects.timers.set(("child", record.id), now + escalation.PATIENCE[escalation.Step.MESSAGE])
        elif idle:
            self.effects.timers.set(("child", record.id), now + LEAVE_GRACE)

    def set_deadline(self, record: WorkerRecord, at: float | None) -> None:
        """Its next deadline, or none. The ladder, and a control that leaves, have theirs already."""
        leaves = record.role is Role.CONTROL and record.state is S.RETIRING
        if record.id in self._rungs or leaves:
            return
        if at is None:
            self.effects.timers.cancel(("child", record.id))
        else:
            self.effects.timers.set(("child", record.id), at)

    def on_ladder(self, record: WorkerRecord) -> bool:
        return record.id in self._rungs

    def overdue(self, record: WorkerRecord, now: float) -> None:
        """It did not do in time what it was told: the next rung of the ladder (design, section 3, rule 5)."""
        rung = self._rungs.get(record.id, 0)
        self._rungs[record.id] = rung + 1
        # Control runs no task, and others wait for what it was asked: no ladder for it.
        step = escalation.next_step(rung) if record.role is Role.WORKER else escalation.Step.KILL
        self.effects.log(
            "error", "overdue", site=record.site, role=record.role.value, worker=record.slot or None,
            pid=record.pid, state=record.state.value, queue=record.queue,
            seconds=round(now - record.progress_at, 1) if record.progress_at else None,
            identity=str(record.identity) if record.identity else None, step=step.value,
        )  # fmt: skip
        if record.state is not S.RETIRING:
            self.roster.move(record, S.RETIRING, RetireReason.TIMEOUT)
        if step is escalation.Step.MESSAGE:
            self.effects.send(record, Retire(RetireReason.TIMEOUT.value, now=True))
        elif step is escalation.Step.TERM:
            self.effects.signal(record, signal.SIGTERM)
        else:
            self.effects.signal(record, signal.SIGKILL)
            if record.pipe_group:
                signal_group(record.pipe_group, signal.SIGKILL)
        self.effects.timers.set(("child", record.id), now + escalation.PATIENCE[step])

    def gone(self, record: WorkerRecord, status: ExitStatus, now: float) -> None:
        """It has exited. A boot that ended without a word is a failed one."""
        was = record.state
        self.roster.move(record, S.GONE)
        self._rungs.pop(record.id, None)
        self.effects.timers.cancel(("child", record.id))
        if was is S.BOOTING and not record.canary:
            self.boot_failed(f"the child ended while it booted ({status})", now, begun=record.started_at)

    def next_at(self, now: float) -> float:
        """When something changes by itself: an age or an idle time is reached, a boot is due."""
        limits = self.settings.workers
        moments = [self.breaker.next_boot_at]
        for record in self.roster:
            if record.max_age:
                moments.append(record.started_at + record.max_age)
            if record.state is S.READY and limits.idle_timeout and self.target > limits.min_idle:
                moments.append(record.idle_since + limits.idle_timeout)
        return min((moment for moment in moments if moment > now), default=inf)
