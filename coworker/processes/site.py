"""One site in the master: reports come in, orders go out. Its children are `staff`'s, its tasks `dispatch`'s."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

from coworker.config.settings import SiteSettings
from coworker.model import ExitStatus, MasterPhase, RetireReason, Role, WorkerRecord, WorkerState as S
from coworker.model import Identity, Outcome
from coworker.policy import matching
from coworker.processes.hands import Hands
from coworker.processes.staff import LEAVE_GRACE, Staff
from coworker.tasks.dispatch import Dispatch
from coworker.unix.process_group import group_is_empty, signal_group
from coworker.wire import messages as m

LEASE_SHARE = 0.9  # an order ends within this share of its lease, as nothing extends it (design, section 4)
GRAVE_INTERVAL = 0.02  # seconds between looks whether a killed process group is empty
SETTLE_PATIENCE = 2.0  # seconds for settling at a stop (design, section 4, rule 12)


class Site:
    """`dirty`: something happened that `decide` must look at."""

    def __init__(self, settings: SiteSettings, hands: Hands) -> None:
        self.settings = settings
        self.hands = hands
        self.staff = Staff(settings, hands)
        self.dispatch = Dispatch(settings, partial(hands.log, site=settings.name), hands.rng)
        self.phase = MasterPhase.RUNNING
        self.dirty = True
        self.on_canary: Callable[[WorkerRecord, str | None], None] = lambda _record, _error: None
        self._graves: list[tuple[WorkerRecord, str, bool]] = []  # gone, their process group not yet
        self._settle_until = inf
        self._handlers: dict[type, Callable[[WorkerRecord, Any, float], None]] = {
            m.Spawned: self._on_spawned,
            m.Ready: self._on_ready,
            m.BootFailed: self._on_boot_failed,
            m.Seen: self._on_seen,
            m.LookFailed: self._on_look_failed,
            m.Claiming: self._on_claiming,
            m.Took: self._on_took,
            m.Handed: self._on_handed,
            m.Refused: self._on_refused,
            m.Bound: self._on_bound,
            m.Began: self._on_began,
            m.Done: self._on_done,
            m.Unanswered: self._on_unanswered,
            m.Idle: self._on_idle,
            m.ClaimFailed: self._on_claim_failed,
            m.Settled: self._on_settled,
            m.SettleFailed: self._on_settle_failed,
            m.Failed: self._on_failed,
            m.Note: self._on_note,
            m.Bye: self._on_bye,
        }

    def log(self, level: str, event: str, record: WorkerRecord | None = None, /, **fields: Any) -> None:
        """With the site, and who it was."""
        if record is not None:
            who = {"worker": record.slot} if record.role is Role.WORKER else {"role": record.role.value}
            fields = {**who, "pid": record.pid, **fields}
        self.hands.log(level, event, site=self.settings.name, **fields)

    # --- reports ---

    def on_report(self, record: WorkerRecord, report: m.Report, now: float) -> None:
        """Take note of one report. Raises IllegalMoveError for one that cannot be."""
        self._handlers[type(report)](record, report, now)

    def _on_spawned(self, record: WorkerRecord, report: m.Spawned, _now: float) -> None:
        record.pipe_group = report.group

    def _on_ready(self, record: WorkerRecord, report: m.Ready, now: float) -> None:
        if record.state is not S.BOOTING:
            return  # told to retire while it booted
        self.staff.ready(record, report.boot_seconds, now)
        self.log("info", "ready", record, version=report.version, boot_seconds=report.boot_seconds)
        self.dirty = True
        if record.canary:
            self.on_canary(record, None)

    def _on_boot_failed(self, record: WorkerRecord, report: m.BootFailed, now: float) -> None:
        self.dirty = True
        told_to_go = record.state is S.RETIRING
        if not told_to_go:
            self.staff.roster.move(record, S.RETIRING, RetireReason.DIED)
            self.hands.timers.set(("child", record.id), now + LEAVE_GRACE)
        if record.canary:
            self.on_canary(record, report.message)
        elif not told_to_go:
            self.staff.boot_failed(report.message, now)

    def _on_seen(self, record: WorkerRecord, report: m.Seen, now: float) -> None:
        record.done += 1
        self.dispatch.seen(report, now)
        self.hands.timers.cancel(("look", self.settings.name))
        if self.hands.log_looking:
            names = ",".join(str(values[0]) for values in report.queues)
            self.log("debug", "looked", queues=names or None, seconds=report.seconds)
        self.dirty = True

    def _on_look_failed(self, _record: WorkerRecord, report: m.LookFailed, now: float) -> None:
        self.dispatch.look_failed(report.message, now)
        self.hands.timers.cancel(("look", self.settings.name))
        self.dirty = True

    def _on_claiming(self, record: WorkerRecord, _report: m.Claiming, now: float) -> None:
        self.hands.timers.set(("child", record.id), now + self.settings.workers.boot_timeout)

    def _on_took(self, record: WorkerRecord, report: m.Took, now: float) -> None:
        own = self.dispatch.took(record, report, now)
        record.progress_at = now
        self._set_deadline(record, report.queue, own, now, now)
        # Deciding costs more than a batch's other bookkeeping: only when one more worker could join in.
        if self.dispatch.queues[report.queue].assignable(now) and self.staff.can_join():
            self.dirty = True

    def _set_deadline(self, record: WorkerRecord, queue: str, items: int, claimed_at: float, now: float) -> None:
        rule = self.settings.queue(queue)
        seconds = items * (rule.task_timeout or self.settings.workers.task_timeout)
        state = self.dispatch.queues.get(queue)
        lease_end = claimed_at + LEASE_SHARE * state.info.lease_time if state else inf
        self.hands.timers.set(("child", record.id), min(now + seconds, lease_end))

    def _on_handed(self, record: WorkerRecord, report: m.Handed, now: float) -> None:
        self.dispatch.hand_on(record, report.claim, report.ids, now)
        self.dirty = True

    def _on_refused(self, _record: WorkerRecord, report: m.Refused, _now: float) -> None:
        self.dispatch.refused(report.claim, report.ids, report.message)
        self.dirty = True

    def _on_bound(self, record: WorkerRecord, report: m.Bound, _now: float) -> None:
        record.identity = Identity(report.contact, report.domain)

    def _on_began(self, record: WorkerRecord, report: m.Began, _now: float) -> None:
        self.dispatch.ledger.begin(report.claim, report.ids, record.id)

    def _on_done(self, record: WorkerRecord, report: m.Done, now: float) -> None:
        record.progress_at = now
        claim = self.dispatch.ledger.claims.get(report.claim)
        queue = claim.queue.name if claim else ""
        ids = []
        for item_id, outcome in report.outcomes:
            ids.append(item_id)
            level = _LEVELS.get(outcome, "warning")
            if self.hands.wants(level):
                seconds = report.seconds / len(report.outcomes)
                self.log(
                    level, "task_done", record, queue=queue, item=item_id, outcome=outcome,
                    identity=str(record.identity), seconds=round(seconds, 6),
                )  # fmt: skip
            if outcome == Outcome.ABORT:
                self.dirty = True
        before = record.done
        record.done += self.dispatch.ledger.end(report.claim, ids, record.id)
        if before < record.max_requests <= record.done:
            self.dirty = True

    def _on_unanswered(self, _record: WorkerRecord, report: m.Unanswered, now: float) -> None:
        self.dispatch.unanswered(report, now)
        self.dirty = True

    def _on_idle(self, record: WorkerRecord, report: m.Idle, now: float) -> None:
        self.dispatch.idle(record, report.why, now)
        self.hands.timers.cancel(("child", record.id))
        record.last_queue, record.queue = record.queue, None
        record.idle_since = record.progress_at = now
        if record.state is S.BUSY:
            self.staff.roster.move(record, S.READY)
        elif record.state is S.RETIRING:
            self.hands.timers.set(("child", record.id), now + LEAVE_GRACE)
        self.dirty = True

    def _on_claim_failed(self, _record: WorkerRecord, report: m.ClaimFailed, now: float) -> None:
        self.dispatch.claim_failed(report.queue, report.message, now)

    def _on_settled(self, _record: WorkerRecord, report: m.Settled, _now: float) -> None:
        entry = self.dispatch.settlements.close(report.ref)
        if entry is None:
            return
        self.dispatch.ledger.settled(entry.claim.id, entry.ids)
        self.dirty = True
        for item_id, fate, text in report.fates:
            self.log(
                "warning", "settled", queue=entry.claim.queue.name, item=item_id, fate=fate,
                cause=entry.cause, detail=text or None,
            )  # fmt: skip

    def _on_settle_failed(self, _record: WorkerRecord, report: m.SettleFailed, now: float) -> None:
        entry = self.dispatch.settlements.failed(report.ref, now, self.hands.rng)
        self.dirty = True
        if entry is None:
            return
        fields = {"queue": entry.claim.queue.name, "items": ",".join(entry.ids), "reason": report.message}
        if not report.final:
            self.log("warning", "settle_failed", **fields)
            return
        self.dispatch.settlements.close(report.ref)
        self.dispatch.ledger.settled(entry.claim.id, entry.ids)
        self.log("error", "left_leased", **fields, lease_seconds=entry.claim.queue.lease_time)

    def _on_failed(self, record: WorkerRecord, report: m.Failed, now: float) -> None:
        if record.state is not S.RETIRING:
            self.staff.roster.move(record, S.RETIRING, RetireReason(report.cause))
        self.hands.timers.set(("child", record.id), now + LEAVE_GRACE)
        record.last_words = report.message
        identity = str(record.identity) if record.identity else None
        self.log(
            "error", "pipe_lost", record, cause=report.cause, queue=record.queue, identity=identity,
            reason=report.message,
        )  # fmt: skip
        if record.role is Role.CONTROL and not record.done:
            self.staff.boot_failed(report.message, now)  # it boots, but is of no use: back off all the same
        self.dirty = True

    def _on_note(self, record: WorkerRecord, report: m.Note, _now: float) -> None:
        self.log(report.level, report.event, record, **report.fields)

    def _on_bye(self, record: WorkerRecord, report: m.Bye, _now: float) -> None:
        self.log("debug", "leaving", record, reason=report.reason, pipe=report.pipe_exit, done=record.done)

    # --- the end of a child ---

    def on_gone(self, record: WorkerRecord, status: ExitStatus, now: float) -> None:
        """It has exited, and everything it said has been read."""
        expected = record.state is S.RETIRING
        reason = record.retire_reason.value if record.retire_reason else None
        canary = record.canary
        self.staff.gone(record, status, now)
        self.log(
            "info" if expected else "error", "gone", record, reason=reason or "crashed", status=str(status),
            done=record.done,
        )  # fmt: skip
        if record.role is Role.CONTROL:
            self._control_gone(record, now)
        cause = record.last_words or f"{reason or 'crashed'}, {status}"
        # KILL it now, and settle only when nothing of it runs any more (design, section 4, rule 1).
        if not self._buried(record):
            signal_group(record.pipe_group, signal.SIGKILL)
        ours = self.phase is MasterPhase.HALTING and record.retire_reason is RetireReason.SHUTDOWN
        self._graves.append((record, cause, ours))
        if canary:
            self.on_canary(record, cause)
        self.dirty = True

    def _control_gone(self, record: WorkerRecord, now: float) -> None:
        self.dispatch.settlements.control_gone(record.id)
        if self.dispatch.looking and self.staff.control() is None:
            self.dispatch.look_lost(now)
            self.hands.timers.cancel(("look", self.settings.name))

    @staticmethod
    def _buried(record: WorkerRecord) -> bool:
        return record.pipe_group <= 1 or group_is_empty(record.pipe_group)

    def _bury(self) -> None:
        """Settle the claims of those whose pipe is seen gone."""
        for grave in list(self._graves):
            record, cause, ours = grave
            if self._buried(record):
                self._graves.remove(grave)
                self.dispatch.lost(record, cause, ours=ours)

    # --- decisions ---

    @property
    def empty(self) -> bool:
        """Nothing of it is left: the master may forget it, or go."""
        return len(self.staff.roster) == 0 and not self._graves

    def stop(self, phase: MasterPhase, now: float) -> None:
        """STOPPING: all leave after their batch. HALTING: pipes are ended now."""
        self.phase = phase
        self.dirty = True
        for group in list(self.dispatch.handed):
            self.dispatch.give_back_handed(group)
        if phase is MasterPhase.HALTING:
            for record in self.staff.roster.of(Role.WORKER):
                self.staff.retire(record, RetireReason.SHUTDOWN, now, at_once=True)

    def adopt(self, settings: SiteSettings) -> None:
        """New settings are in force: all children are of the old generation now, but for the canary."""
        self.settings = settings
        self.dispatch.reconfigure(settings)
        self.staff.adopt(settings)
        self.dirty = True

    def look_now(self, now: float) -> None:
        """USR2."""
        self.dispatch.next_look_at = now
        self.dirty = True

    def change_count(self, change: int) -> None:
        """TTIN and TTOU: one worker more or less."""
        self.staff.change_count(change)
        self.dirty = True

    def decide(self, now: float) -> None:
        """One step: bury, staff, assign, look, settle; then say when to be asked again."""
        self.dirty = False
        self._bury()
        stopping = self.phase in (MasterPhase.STOPPING, MasterPhase.HALTING)
        free = [] if stopping else self.staff.free(now)
        self._assign(free, now)
        if not stopping:
            self._evict(now)
        waiting = 0 if stopping or free else self._waiting(now)
        self.staff.reconcile(
            now,
            waiting=waiting,
            workers_stop=stopping,
            control_stops=stopping and self._control_may_leave(now),
        )
        self._ask_control(now, free=bool(free))
        self.hands.timers.set(("site", self.settings.name), self._next_at(now))

    def _waiting(self, now: float) -> int:
        if self.phase is not MasterPhase.RUNNING or self.staff.breaker.is_open:
            return 0
        return self.dispatch.waiting(now, self.staff.count)

    def _assign(self, free: list[WorkerRecord], now: float) -> None:
        claim = self.phase is MasterPhase.RUNNING and not self.staff.breaker.is_open
        for record, order in self.dispatch.assign(free, now, claim=claim):
            self.staff.roster.move(record, S.BUSY)
            self.hands.send(record, order)
            if isinstance(order, m.Run):
                self._set_deadline(record, order.queue, len(order.items), now, now)
            else:
                self._on_claiming(record, m.Claiming(order.queue), now)  # type: ignore[union-attr]

    def _evict(self, now: float) -> None:
        """Handed items that nobody can take: somebody bound to another identity makes room."""
        handed = self.dispatch.handed
        if handed:
            waiting = len({group.identity for group in handed})
            waited = now - min(group.since for group in handed)
            victim = matching.evict(self.staff.workers(), waiting, waited, self.staff.boot_seconds)
            if victim is not None:
                victim.expired = RetireReason.IDENTITY
                self.log("debug", "evicting", victim, identity=str(victim.identity))

    def _control_may_leave(self, now: float) -> bool:
        """Control leaves last: when no worker is left and every claim is settled, or time is up (rule 12)."""
        if self.staff.roster.of(Role.WORKER) or self._graves:
            return False
        if not self.dispatch.settlements.pending:
            return True
        if self._settle_until == inf:
            self._settle_until = now + SETTLE_PATIENCE
        return now >= self._settle_until or self.staff.control() is None

    def _ask_control(self, now: float, *, free: bool) -> None:
        control = self.staff.control()
        if control is None:
            return
        for order in self.dispatch.settlements.orders(control.id, now):
            self.hands.send(control, order)
        may_look = self.phase is MasterPhase.RUNNING and not self.staff.breaker.is_open
        if may_look and not self.dispatch.looking and now >= self.dispatch.next_look_at:
            self.hands.send(control, self.dispatch.look(now, free=free))
            self.hands.timers.set(("look", self.settings.name), now + self.settings.workers.boot_timeout)

    def look_overdue(self, now: float) -> None:
        """Control does not answer: it is replaced."""
        control = self.staff.control()
        if control is not None and self.dispatch.looking:
            self.staff.overdue(control, now)

    def _next_at(self, now: float) -> float:
        moments = [self.staff.next_at(now), self.dispatch.next_at()]
        if self._graves:
            moments.append(now + GRAVE_INTERVAL)
        if not self.dispatch.looking and self.phase is MasterPhase.RUNNING:
            moments.append(self.dispatch.next_look_at)
        if (again := self.dispatch.settlements.next_at()) is not None:
            moments.append(again)
        if self._settle_until != inf:
            moments.append(self._settle_until)
        if self.dispatch.handed:
            since = min(group.since for group in self.dispatch.handed)
            moments.append(since + self.staff.boot_seconds)
        return min((moment for moment in moments if moment > now), default=inf)


_LEVELS = {"ok": "debug", "retry": "notice", "relinquish": "notice"}
