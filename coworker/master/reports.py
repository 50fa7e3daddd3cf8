"""What a child reports of itself and its work, and what follows: bookkeeping, then whether to decide again.

Every handler returns the latter, for `Site.heard`. What control answers is in `control_orders`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coworker.ipc import messages as m
from coworker.master.control_orders import FlushBarrier, Handler
from coworker.master.deadlines import LEAVE_GRACE, Deadlines, Watchdog
from coworker.master.dispatch import Dispatch
from coworker.master.site_health import SiteHealth
from coworker.master.staff import Staff
from coworker.model import Identity, MasterPhase, Outcome, RetireReason, Role, WorkerRecord
from coworker.model import WorkerState as S

LONGEST_WAIT = 60.0  # seconds that a site may have us wait until it is asked again
_GONE = ("ok", "delete")  # outcomes that leave no row
_LEVELS = {"ok": "debug", "retry": "notice", "relinquish": "notice"}  # others are warnings


@dataclass(slots=True)
class WorkReports:
    """The reports of workers on claims and items, and of control where it claims for workers."""

    staff: Staff
    dispatch: Dispatch
    deadlines: Deadlines
    watchdog: Watchdog
    barrier: FlushBarrier

    def handlers(self) -> dict[type, Handler]:
        return {
            m.Claiming: self._claiming,
            m.NotClaimed: self._not_claimed,
            m.Claimed: self._claimed,
            m.BatchDone: self._batch_done,
            m.ClaimFailed: self._claim_failed,
            m.HandedOff: self._handed_off,
            m.Refused: self._refused,
            m.Bound: self._bound,
            m.RunSent: self._run_sent,
            m.NotBegun: self._not_begun,
            m.Done: self._done,
            m.Ended: self._ended,
            m.Unanswered: self._unanswered,
            m.Flushed: self._flushed,
            m.Idle: self._idle,
        }

    def _claiming(self, record: WorkerRecord, report: m.Claiming, now: float) -> bool:
        self.dispatch.claiming(record, report.queue, report.at)
        if record.role is Role.WORKER:  # control has its own time for all that it was asked
            self.deadlines.claiming(record, now)
        return False

    def _not_claimed(self, record: WorkerRecord, _report: m.NotClaimed, _now: float) -> bool:
        self.dispatch.claiming(record, None)
        return False

    def _claimed(self, record: WorkerRecord, report: m.Claimed, now: float) -> bool:
        # Control claims for whoever is free: its batches bring in nobody by themselves.
        can_join = self.staff.can_join if record.role is Role.WORKER else lambda: True
        claim, own, one_more = self.dispatch.claimed(record, report, can_join, now)
        self.deadlines.progressed(record, now)
        if record.role is Role.CONTROL:
            return False  # HandedOff follows
        self.deadlines.begun(record, claim, max(1, own), now)
        return one_more

    def _batch_done(self, record: WorkerRecord, report: m.BatchDone, now: float) -> bool:
        """Take a whole batch. The next report sets the next deadline: this one is never the last."""
        who = Identity(report.contact, report.domain)
        ids, aborted = self._note(record, report, report.queue, now)
        one_more = self.dispatch.batch(
            record, report.queue, who, len(ids), report.asked_at, self.staff.can_join, now
        )
        self.deadlines.progressed(record, now)
        used_up = self.dispatch.count(record, len(ids))
        return one_more or aborted or used_up

    def _claim_failed(self, _record: WorkerRecord, report: m.ClaimFailed, now: float) -> bool:
        self.dispatch.queues.claim_failed(report.queue, report.message, now)
        return False

    def _handed_off(self, record: WorkerRecord, report: m.HandedOff, now: float) -> bool:
        self.dispatch.handoff.hand_off(record.id, report.claim, report.ids, now)
        return True

    def _refused(self, _record: WorkerRecord, report: m.Refused, _now: float) -> bool:
        self.dispatch.handoff.refuse(report.claim, report.ids, report.message)
        return True

    def _bound(self, record: WorkerRecord, report: m.Bound, _now: float) -> bool:
        self.dispatch.bound(record, Identity(report.contact, report.domain))
        return False

    def _run_sent(self, record: WorkerRecord, report: m.RunSent, now: float) -> bool:
        claim = self.dispatch.ledger.begin(report.claim, report.ids, record.id)
        self.deadlines.begun(record, claim, len(report.ids), now)
        return False

    def _not_begun(self, record: WorkerRecord, report: m.NotBegun, _now: float) -> bool:
        self.dispatch.ledger.begin(report.claim, report.ids, record.id, begun=False)
        return False

    def _done(self, record: WorkerRecord, report: m.Done, now: float) -> bool:
        self.deadlines.progressed(record, now)
        claim = self.dispatch.ledger.claims.get(report.claim)
        ids, aborted = self._note(record, report, claim.queue.name if claim else "", now)
        used_up = self.dispatch.count(record, self.dispatch.ledger.end(report.claim, ids, record.id))
        return aborted or used_up

    def _ended(self, record: WorkerRecord, report: m.Ended, _now: float) -> bool:
        ended = self.dispatch.ledger.end(report.claim, report.ids, record.id)
        return self.dispatch.count(record, ended)

    def _note(
        self, record: WorkerRecord, report: m.Done | m.BatchDone, queue: str, now: float
    ) -> tuple[list[str], bool]:
        """Log outcomes, remember what settling must know of them: (the ids, whether one aborts)."""
        log, settler = record.life.log, self.dispatch.settler
        ids = [item_id for _, run in report.outcomes for item_id in run]
        log_ok = log.wants(_LEVELS[Outcome.OK])  # asked once, not for each item
        who = str(record.work.identity) if record.work.identity else None
        aborted = False
        took: dict[str, float] = {}
        for outcome, run in report.outcomes:
            if log_ok or outcome != Outcome.OK:
                took = took or dict(zip(ids, report.each, strict=False))
                for item_id in run:
                    seconds = took.get(item_id) if took else round(report.seconds / len(ids), 6)
                    log.event(
                        _LEVELS.get(outcome, "warning"), "task_done", queue=queue, item=item_id,
                        outcome=outcome, identity=who, seconds=seconds, **report.errors.get(item_id, {}),
                    )  # fmt: skip
            if outcome not in _GONE:
                settler.remember(queue, run, now)
                aborted = aborted or outcome == Outcome.ABORT
        if settler.crash_counts:
            settler.crash_counts.forget(queue, ids)
        settler.spared_deaths.forget(queue, ids)
        if ids:
            self.dispatch.queues.ran(queue)
        return ids, aborted

    def _unanswered(self, _record: WorkerRecord, report: m.Unanswered, now: float) -> bool:
        self.dispatch.unanswered(report, now)
        return True

    def _flushed(self, record: WorkerRecord, _report: m.Flushed, _now: float) -> bool:
        self.barrier.said_all(record)
        return True

    def _idle(self, record: WorkerRecord, report: m.Idle, now: float) -> bool:
        self.dispatch.idle(record, report.why, now)
        self.barrier.said_all(record)
        self.deadlines.idle(record)
        self.deadlines.progressed(record, now)
        self.staff.roster.rest(record, now)
        if record.life.state is S.RETIRING:
            self.watchdog.set(record, now + LEAVE_GRACE)
        else:
            self.watchdog.clear(record)
        return True


@dataclass(slots=True)
class LifeReports:
    """The reports of a child on itself and its pipe."""

    staff: Staff
    dispatch: Dispatch
    deadlines: Deadlines
    watchdog: Watchdog
    health: SiteHealth
    phase: Callable[[], MasterPhase]

    def handlers(self) -> dict[type, Handler]:
        return {
            m.Spawned: self._spawned,
            m.Ready: self._ready,
            m.BootFailed: self._boot_failed,
            m.SiteState: self._site_state,
            m.CodeMoved: self._code_moved,
            m.Spent: self._spent,
            m.Failed: self._failed,
            m.Note: self._note,
            m.Bye: self._bye,
        }

    def _spawned(self, record: WorkerRecord, report: m.Spawned, _now: float) -> bool:
        self.staff.roster.pipe_started(record, report.group, report.start)
        return False

    def _ready(self, record: WorkerRecord, report: m.Ready, now: float) -> bool:
        if record.life.state is not S.BOOTING:
            return False  # it was told to retire while it booted
        self.staff.ready(record, report.boot_seconds, now)
        self.deadlines.progressed(record, now)
        canary = record.life.canary  # then it proves only the settings to come
        if not canary:
            self.health.boot_succeeded(now)
        if report.gives_back is None:
            self.staff.roster.pipe_ready(record, report.domain, notes=report.notes)
        elif not canary:
            self.staff.roster.gives_back = report.gives_back
        # Control is replaced every two minutes: that is nobody's news.
        routine = record.role is Role.CONTROL and len(self.staff.roster.of(Role.CONTROL)) > 1
        level = "debug" if routine else "info"
        record.life.log.event(level, "ready", version=report.version, boot_seconds=report.boot_seconds)
        if canary and record.role is Role.CONTROL:  # it takes no orders, so what it saw of the site is lost
            self.staff.retire(record, RetireReason.RELOAD, now)
        if canary:
            self.staff.on_canary(record, None)
        return True

    def _boot_failed(self, record: WorkerRecord, report: m.BootFailed, now: float) -> bool:
        told_to_go = record.life.state is S.RETIRING
        if not told_to_go:
            self.staff.roster.move(record, S.RETIRING, RetireReason.DIED)
            self.watchdog.set(record, now + LEAVE_GRACE)
        if record.life.canary:
            self.staff.on_canary(record, report.message)
        elif not told_to_go:
            wait = min(report.retry_after, LONGEST_WAIT)
            started = record.started_at
            self.health.boot_failed(report.message, now, started=started, retry_after=wait)
        return True

    def _site_state(self, record: WorkerRecord, report: m.SiteState, now: float) -> bool:
        if record is not self.staff.roster.control():
            return False  # its successor has seen the settings afresh
        held = self.health.held
        old_code = record.life.generation < self.staff.oldest
        if self.health.noticed(report, now, old_code=old_code):
            self.staff.bump_generation()
        if self.health.held and not held:
            self.staff.pause_all()
        self.staff.roster.shorten(record, self.health.fresh_every)
        return True

    def _code_moved(self, record: WorkerRecord, report: m.CodeMoved, now: float) -> bool:
        generation = record.life.generation
        if generation < self.staff.oldest:
            return False  # another has said so, and their successors are on their way
        self.health.code_moved(report.path, now)
        self.staff.bump_generation(outdated=generation)
        return True

    def _spent(self, record: WorkerRecord, report: m.Spent, _now: float) -> bool:
        self.staff.roster.expire(record, RetireReason(report.cause))
        return True

    def _failed(self, record: WorkerRecord, report: m.Failed, now: float) -> bool:
        cause = RetireReason(report.cause)
        if record.life.state is not S.RETIRING:
            self.staff.roster.move(record, S.RETIRING, cause)
        self.watchdog.set(record, now + LEAVE_GRACE)
        stopping = self.phase().ends
        self.staff.roster.pipe_lost(record, cause, report.message, stopping=stopping)
        identity = record.work.identity
        record.life.log.event(
            "error", "pipe_lost", cause=report.cause, queue=record.work.queue,
            identity=None if identity is None else str(identity), reason=report.message,
        )  # fmt: skip
        if record.role is Role.CONTROL and not record.work.done and not record.life.canary:
            # Control boots, but is of no use: back off all the same.
            self.health.boot_failed(report.message, now, started=record.started_at, after_hello=True)
        return True

    def _note(self, record: WorkerRecord, report: m.Note, _now: float) -> bool:
        record.life.log.event(report.level, report.event, **report.fields)
        return False

    def _bye(self, record: WorkerRecord, report: m.Bye, _now: float) -> bool:
        if record.life.state is not S.RETIRING:  # somebody else's TERM told it to go
            self.staff.roster.move(record, S.RETIRING, RetireReason.SHUTDOWN)
        self.staff.roster.said_bye(record, pipe_survives=report.survives)
        record.life.log.event("debug", "leaving", reason=report.reason, pipe=report.pipe_exit)
        return False
