"""One site in the master: its children are `staff`'s, its tasks `dispatch`'s; here the two meet."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

from coworker.claims.checkpoint import Checkpoint
from coworker.claims.journal import child_file
from coworker.config.settings import SiteSettings
from coworker.ipc import messages as m
from coworker.master.control_orders import ControlOrders
from coworker.master.deadlines import Deadlines
from coworker.master.dispatch import Dispatch
from coworker.master.effects import Effects
from coworker.master.pipe_groups import PipeGroup, PipeGroups
from coworker.master.recovery import Recovery
from coworker.master.reports import Reports
from coworker.master.site_health import SiteHealth
from coworker.master.staff import Staff
from coworker.model import ExitStatus, MasterPhase, RetireReason, Role, WorkerRecord
from coworker.model import WorkerState as S
from coworker.policy import matching
from coworker.policy.backoff import PROBE_CAP
from coworker.unix.memory import OomWatch

SETTLE_PATIENCE = 2.0  # seconds for settling at a stop (design, section 4, rule 12)
REMOVED_PATIENCE = 60.0  # the same for a site that a reload removed: nobody waits for it


class Site:
    """`dirty`: something happened that `decide` must look at.

    `on_trial`: a reload wants to add this site; until its canary said hello, it has no other child.
    """

    def __init__(self, settings: SiteSettings, effects: Effects, *, on_trial: bool = False) -> None:
        self.settings = settings
        self.effects = effects
        self.staff = Staff(settings, effects, partial(effects.spawn, self))
        log = partial(effects.log, site=settings.name)
        self.dispatch = Dispatch(settings, log, effects.rng)
        self.deadlines = Deadlines(settings, self.dispatch, self.staff.set_deadline)
        ledger, self.settler = self.dispatch.ledger, self.dispatch.settler
        self.checkpoint = Checkpoint(effects.claims, settings.name, ledger, self.settler, log)
        self.pipe_groups = PipeGroups(log)
        self.recovery = Recovery(self.dispatch, self.checkpoint, self.pipe_groups, log)
        self.health = SiteHealth(settings, self.log, self.staff.bump_generation)
        self._oom = OomWatch()
        self.phase = MasterPhase.RUNNING
        self.dirty = True
        self.on_trial = on_trial
        self.on_canary: Callable[[WorkerRecord, str | None], None] = lambda _record, _error: None
        self._settle_patience = SETTLE_PATIENCE
        self._settle_until = inf
        self._wound_up = False  # every claim is settled, or time was up
        self.control_orders = ControlOrders(self)
        self.reports = Reports(self)

    def log(self, level: str, event: str, record: WorkerRecord | None = None, /, **fields: Any) -> None:
        """With the site, and who it was."""
        if record is not None:
            who = {"worker": record.slot} if record.role is Role.WORKER else {"role": record.role.value}
            fields = {**who, "pid": record.pid, **fields}
        self.effects.log(level, event, site=self.settings.name, **fields)

    # --- the end of a child ---

    def on_gone(self, record: WorkerRecord, status: ExitStatus, now: float) -> None:
        """It has exited, and everything it said has been read."""
        if not record.said_bye:
            self.reports.take_unheard(record, now)
        expected = record.state is S.RETIRING
        reason = record.retire_reason.value if record.retire_reason else None
        canary = record.canary
        self.staff.gone(record, status, now)
        done = record.done if record.role is Role.WORKER else None
        routine = record.role is Role.CONTROL and record.retire_reason is RetireReason.MAX_AGE
        level = "error" if not expected else "debug" if routine else "info"
        self.log(level, "gone", record, reason=reason or "crashed", status=str(status), done=done)
        if record.role is Role.CONTROL:
            self.control_orders.control_gone(record.id, now)
        self.control_orders.flushed(record)
        cause = record.last_words or f"{reason or 'crashed'}, {status}"
        if self._oom.has_killed() and status.signal == signal.SIGKILL:
            cause = "the worker was killed by the kernel, which had no memory left"
        if record.claiming is not None:
            self.log("error", "claim_unanswered", record, queue=record.claiming, reason=cause)
            # Without a pause one pipe after the other would be lost to a database that takes no claims.
            self.dispatch.claim_failed(record.claiming, cause, now, cap=PROBE_CAP)
        who = {"role": record.role.value, "worker": record.slot or None, "pid": record.pid}
        bury = partial(self._bury, record, cause, self._ended_by_us(record))
        self.pipe_groups.add(PipeGroup(record.pipe_group, now, bury, who), now)
        if canary:
            self.on_canary(record, cause)
        self.dirty = True

    def _bury(self, record: WorkerRecord, cause: str, stopped_by_us: bool, now: float) -> None:
        """Nothing of its pipe runs any more: what it had in hand can be settled."""
        blameless = record.retire_reason is RetireReason.DATABASE
        self.dispatch.lost(record, cause, now, stopped_by_us=stopped_by_us, blameless=blameless)
        self.checkpoint.supersede(child_file(self.effects.claims, record.pid, record.id))

    def _ended_by_us(self, record: WorkerRecord) -> bool:
        """Whether the stop ended its pipe, whatever it was leaving for: no fault of the task that ran."""
        halting = self.phase is MasterPhase.HALTING
        return halting and not record.last_words and record.retire_reason is not RetireReason.TIMEOUT

    # --- decisions ---

    @property
    def stopping(self) -> bool:
        return self.phase in (MasterPhase.STOPPING, MasterPhase.HALTING)

    @property
    def empty(self) -> bool:
        """Nothing of it is left, nor to be done: the master may forget it, or go."""
        return self._wound_up and len(self.staff.roster) == 0 and not self.pipe_groups.graves

    def forget(self) -> None:
        """It is empty: nothing shall wake for it again. What is open stays in the journal."""
        self.checkpoint.save()
        self.settler.report_open()
        for kind in ("site", "look"):
            self.effects.timers.cancel((kind, self))

    def stop(self, phase: MasterPhase, now: float) -> None:
        """STOPPING: all leave after their batch. HALTING: pipes are ended now."""
        self.phase = phase
        self.dirty = True
        self._settle_patience, self._settle_until = SETTLE_PATIENCE, inf
        if phase is MasterPhase.HALTING:
            for record in self.staff.roster.of(Role.WORKER):
                self.staff.retire(record, RetireReason.SHUTDOWN, now, at_once=True)

    def remove(self, now: float) -> None:
        """A reload does without it: it stops, and has time to settle what it leaves."""
        self.stop(MasterPhase.STOPPING, now)
        self._settle_patience = REMOVED_PATIENCE

    def resume(self, phase: MasterPhase) -> None:
        """RUNNING, or QUIET: then nothing is claimed any more, also by those at work."""
        self.phase = phase
        self.dirty = True
        if phase is MasterPhase.QUIET:
            self.pause()

    def pause(self) -> None:
        """Those at work claim nothing more after their batch."""
        for record in self.staff.workers():
            if record.state is S.BUSY:
                self.effects.send(record, m.Pause())

    def adopt(self, settings: SiteSettings) -> None:
        """New settings are in force: all children are of the old generation now, but for the canary."""
        self.settings = settings
        self.on_trial = False
        self.dispatch.reconfigure(settings)
        self.deadlines.settings = self.health.settings = settings
        self.staff.adopt(settings)
        self.dirty = True

    def look_now(self, now: float) -> None:
        """USR2."""
        self.dispatch.watch.next_look_at = now
        self.dirty = True

    def await_look(self, now: float) -> None:
        """The next look needs no decision: an idle daemon does nothing but to look."""
        watch = self.dispatch.watch
        if not watch.looking and self.phase is MasterPhase.RUNNING and watch.next_look_at > now:
            self.effects.timers.set(("look", self), watch.next_look_at)

    def look_due(self, now: float) -> None:
        """Its time has come."""
        if (control := self.staff.control()) is not None:
            self.control_orders.look(control, now, free=bool(self.staff.free(now)))

    def change_count(self, change: int) -> None:
        """TTIN and TTOU: one worker more or less."""
        self.staff.change_count(change)
        self.dirty = True

    def decide(self, now: float) -> None:
        """One step: bury, staff, assign, look, settle; then say when to be asked again."""
        self.dirty = False
        stopping = self.stopping
        self.pipe_groups.tend(now, give_up=stopping)
        self.health.tend(now)
        if self.on_trial and not stopping:
            return
        control = self._control_wanted(now) if stopping else 1
        self._wound_up = control < 0
        if stopping:  # also what a worker hands on now, at the end of its last batch
            for group in list(self.dispatch.handed):
                self.dispatch.give_back_handed(group)
        inspections = self._inspections(now)
        self.checkpoint.save()  # before anybody is told to go on
        free = [] if stopping else self.staff.free(now)
        self._assign(free, now)
        wants = [] if stopping else self._wants(now)
        self._evict(wants)
        numbers = [domain.number for domain in self.settings.domains]
        self.staff.domain_wanted = lambda: matching.domain_to_boot(self.staff.workers(), wants, numbers)
        waiting = len(matching.unserved(self.staff.workers(), wants))
        self.staff.reconcile(now, waiting=waiting, workers_stop=stopping, control=control)
        self.control_orders.turn(now, inspections, free=bool(free))
        self.effects.timers.set(("site", self), self._next_at(now))
        self.await_look(now)

    @property
    def may_claim(self) -> bool:
        """Not in a pause, at a site that is down, nor before everything old is settled."""
        return self.may_look and not self.recovery.active and not self.health.held

    @property
    def may_look(self) -> bool:
        return self.phase is MasterPhase.RUNNING and not self.staff.breaker.is_open

    def _inspections(self, now: float) -> list[m.Inspect]:
        control = self.staff.control()
        return [] if control is None else self.deadlines.due(self.staff.workers(), control.id, now)

    def _wants(self, now: float) -> list[matching.Want]:
        """The work that no free worker takes; what is not claimed yet counts only while we may claim."""
        wants = self.dispatch.wants(now)
        if self.may_claim:
            return wants
        return [want for want in wants if want.handed]

    def _assign(self, free: list[WorkerRecord], now: float) -> None:
        for record, order in self.dispatch.assign(
            free, now, claim=self.may_claim, workers=self.staff.workers()
        ):
            self.staff.roster.move(record, S.BUSY)
            self.effects.send(record, order)
            # Until it says Claiming, or RunSent.
            self.effects.timers.set(("child", record.id), now + self.settings.workers.boot_timeout)

    def _evict(self, wants: list[matching.Want]) -> None:
        """Work that nobody free may do: somebody bound to another identity makes room."""
        if wants and not self.staff.can_grow():
            victim = matching.evict(self.staff.workers(), wants, self.staff.boot_seconds)
            if victim is not None:
                victim.expired = RetireReason.IDENTITY
                self.log("debug", "evicting", victim, identity=str(victim.identity))

    def _control_wanted(self, now: float) -> int:
        """At a stop control leaves last: when every claim is settled, or time is up (rule 12)."""
        if now >= self._settle_until:
            return -1
        pending = self.settler.settlements.pending
        if self.staff.roster.of(Role.WORKER) or self.pipe_groups.graves:
            return int(bool(self.dispatch.ledger.claims or pending))
        if not (pending or self.dispatch.handed):
            return -1
        if self._settle_until == inf:
            boot = 0.0 if self.staff.control() else 2 * self.staff.boot_seconds
            self._settle_until = now + self._settle_patience + boot
        return 1

    def overdue(self, record: WorkerRecord, now: float) -> None:
        """Whoever waits for control's look need not wait until it is gone."""
        self.dirty = True
        if record.look_at <= now < record.deadline and not self.staff.on_ladder(record):
            self.effects.timers.set(("child", record.id), record.deadline)  # control is to look after it
            return
        self.staff.overdue(record, now)
        if self.dispatch.watch.looking == record.id:
            self.dispatch.watch.lost(now)

    def _next_at(self, now: float) -> float:
        moments = [self.staff.next_at(now), self.dispatch.next_at(), self.pipe_groups.next_at]
        moments.append(self.health.due_at())
        moments += (self.settler.next_at(), self.control_orders.flush_until)
        if self._settle_until != inf:
            moments.append(self._settle_until)
        patience = (self.staff.boot_seconds, matching.STARVING)
        moments += [since + seconds for since in self.dispatch.waiting_since() for seconds in patience]
        return min((moment for moment in moments if moment > now), default=inf)
