"""What each report of a child means to its site: bookkeeping first, then whether a decision is due."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from coworker.claims.journal import child_file
from coworker.errors import IllegalMoveError
from coworker.ipc import messages as m
from coworker.master.progress import Progress
from coworker.master.staff import LEAVE_GRACE
from coworker.master.unheard import unheard
from coworker.model import Identity, RetireReason, Role, WorkerRecord
from coworker.model import WorkerState as S

if TYPE_CHECKING:
    from coworker.master.site import Site

LONGEST_WAIT = 60.0  # seconds that a site may have us wait until it is asked again


class Reports:
    """Takes the reports of one site's children."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.staff, self.dispatch, self.timers = site.staff, site.dispatch, site.effects.timers
        progress = Progress(site)
        self._handlers: dict[type, Callable[[WorkerRecord, Any, float], None]] = {
            m.Spawned: self._on_spawned,
            m.Ready: self._on_ready,
            m.BootFailed: self._on_boot_failed,
            m.WorkFound: self._on_seen,
            m.LookFailed: self._on_look_failed,
            m.Fetched: self._on_fetched,
            m.TokenWanted: self._on_token_wanted,
            m.TokenIssued: self._on_minted,
            m.SiteState: self._on_state,
            m.NotClaimed: self._on_not_claimed,
            m.Claiming: self._on_claiming,
            m.Claimed: progress.took,
            m.HandedOff: self._on_handed,
            m.Refused: self._on_refused,
            m.Bound: self._on_bound,
            m.RunSent: self._on_began,
            m.NotBegun: self._on_not_begun,
            m.Done: progress.done,
            m.BatchDone: progress.worked,
            m.Unanswered: self._on_unanswered,
            m.Flushed: self._on_flushed,
            m.Ended: progress.ended,
            m.Idle: self._on_idle,
            m.ClaimFailed: self._on_claim_failed,
            m.Settled: self._on_settled,
            m.SettleFailed: self._on_settle_failed,
            m.MemoryHigh: self._on_grown,
            m.Inspected: self._on_inspected,
            m.InspectFailed: self._on_inspect_failed,
            m.Failed: self._on_failed,
            m.Note: self._on_note,
            m.Bye: self._on_bye,
        }

    def take(self, record: WorkerRecord, report: m.Report, now: float) -> None:
        """Take note of one report. Raises IllegalMoveError for one that cannot be."""
        self._handlers[type(report)](record, report, now)

    def take_unheard(self, record: WorkerRecord, now: float) -> None:
        """It died before it could say all: the rest is in its journal (design, section 4, rule 10)."""
        path = child_file(self.site.effects.claims, record.pid, record.id)
        try:
            for report in unheard(path, record, self.dispatch.ledger):
                self.take(record, report, now)
        except FileNotFoundError:
            return  # it came to nothing
        except (OSError, IllegalMoveError) as error:
            self.site.log("error", "journal_unreadable", record, file=str(path), reason=str(error))

    def _on_spawned(self, record: WorkerRecord, report: m.Spawned, _now: float) -> None:
        record.pipe_group = report.group

    def _on_ready(self, record: WorkerRecord, report: m.Ready, now: float) -> None:
        if record.state is not S.BOOTING:
            return  # told to retire while it booted
        self.staff.ready(record, report.boot_seconds, now)
        if report.gives_back is not None:
            self.dispatch.can_give_back = report.gives_back
        else:
            record.domain = report.domain
            if record.boot_domain is None:
                self.staff.home_domain = self.dispatch.home_domain = report.domain
        # Control is replaced every two minutes: that is nobody's news.
        routine = record.role is Role.CONTROL and len(self.staff.roster.of(Role.CONTROL)) > 1
        level = "debug" if routine else "info"
        self.site.log(level, "ready", record, version=report.version, boot_seconds=report.boot_seconds)
        self.site.dirty = True
        if record.canary:
            self.site.on_canary(record, None)

    def _on_boot_failed(self, record: WorkerRecord, report: m.BootFailed, now: float) -> None:
        self.site.dirty = True
        told_to_go = record.state is S.RETIRING
        if not told_to_go:
            self.staff.roster.move(record, S.RETIRING, RetireReason.DIED)
            self.timers.set(("child", record.id), now + LEAVE_GRACE)
        if record.canary:
            self.site.on_canary(record, report.message)
        elif not told_to_go:
            wait = min(report.retry_after, LONGEST_WAIT)
            self.staff.boot_failed(report.message, now, begun=record.started_at, retry_after=wait)

    def _on_seen(self, record: WorkerRecord, report: m.WorkFound, now: float) -> None:
        record.done += 1
        idle = not (report.queues or self.dispatch.queues)
        self.dispatch.watch.seen(report, now)
        self.dispatch.settler.crash_counts.forget_queues(report.rowless)
        self.site.control_orders.answered(record, now)
        if self.site.effects.log_looking:
            names = ",".join(str(values[0]) for values in report.queues)
            self.site.log("info", "looked", queues=names or None, seconds=report.seconds)
        if idle:
            self.site.await_look(now)
        else:
            self.site.dirty = True

    def _on_look_failed(self, record: WorkerRecord, report: m.LookFailed, now: float) -> None:
        self.dispatch.watch.failed(report.message, now)
        self.site.control_orders.answered(record, now)
        self.site.dirty = True

    def _on_claiming(self, record: WorkerRecord, report: m.Claiming, now: float) -> None:
        record.claiming, record.claiming_at = report.queue, report.at
        if record.role is Role.WORKER:  # control has its own time for all that it was asked
            self.site.deadlines.claiming(record, now)

    def _on_not_claimed(self, record: WorkerRecord, _report: m.NotClaimed, _now: float) -> None:
        record.claiming = None

    def _on_state(self, record: WorkerRecord, report: m.SiteState, now: float) -> None:
        if record is not self.staff.control():
            return  # its successor has seen the settings afresh
        if self.site.health.noticed(report, now):
            self.site.pause()
        record.max_age = min(record.max_age or inf, self.site.health.fresh_every)
        self.site.dirty = True

    def _on_fetched(self, record: WorkerRecord, report: m.Fetched, now: float) -> None:
        record.claiming = None
        self.site.control_orders.fetching.fetched(report, record.id, now)
        self.site.control_orders.answered(record, now)
        self.site.dirty = True

    def _on_token_wanted(self, record: WorkerRecord, report: m.TokenWanted, now: float) -> None:
        self.site.control_orders.mint(record, report.contact, now)

    def _on_minted(self, record: WorkerRecord, report: m.TokenIssued, now: float) -> None:
        self.site.control_orders.minted(report)
        self.site.control_orders.answered(record, now)

    def _on_handed(self, record: WorkerRecord, report: m.HandedOff, now: float) -> None:
        self.dispatch.hand_on(record, report.claim, report.ids, now)
        self.site.dirty = True

    def _on_refused(self, _record: WorkerRecord, report: m.Refused, _now: float) -> None:
        self.dispatch.refusals.refuse(report.claim, report.ids, report.message)
        self.site.dirty = True

    def _on_bound(self, record: WorkerRecord, report: m.Bound, _now: float) -> None:
        record.identity, record.promised = Identity(report.contact, report.domain), None

    def _on_began(self, record: WorkerRecord, report: m.RunSent, now: float) -> None:
        claim = self.dispatch.ledger.begin(report.claim, report.ids, record.id)
        self.site.deadlines.begun(record, claim, len(report.ids), now)

    def _on_not_begun(self, record: WorkerRecord, report: m.NotBegun, _now: float) -> None:
        self.dispatch.ledger.begin(report.claim, report.ids, record.id, begun=False)

    def _on_unanswered(self, _record: WorkerRecord, report: m.Unanswered, now: float) -> None:
        self.dispatch.unanswered(report, now)
        self.site.dirty = True

    def _on_flushed(self, record: WorkerRecord, _report: m.Flushed, _now: float) -> None:
        self.site.control_orders.flushed(record)
        self.site.dirty = True

    def _on_idle(self, record: WorkerRecord, report: m.Idle, now: float) -> None:
        self.dispatch.idle(record, report.why, now)
        self.site.control_orders.flushed(record)
        self.timers.cancel(("child", record.id))
        self.site.deadlines.idle(record)
        record.promised = None
        record.last_queue, record.queue, record.claiming = record.queue, None, None
        record.idle_since = record.progress_at = now
        if record.state is S.BUSY:
            self.staff.roster.move(record, S.READY)
        elif record.state is S.RETIRING:
            self.timers.set(("child", record.id), now + LEAVE_GRACE)
        self.site.dirty = True

    def _on_claim_failed(self, _record: WorkerRecord, report: m.ClaimFailed, now: float) -> None:
        self.dispatch.claim_failed(report.queue, report.message, now)

    def _on_settled(self, record: WorkerRecord, report: m.Settled, now: float) -> None:
        self.dispatch.settler.settled(report, now)
        self.site.control_orders.answered(record, now)
        self.site.dirty = True

    def _on_settle_failed(self, record: WorkerRecord, report: m.SettleFailed, now: float) -> None:
        self.dispatch.settler.failed(report, now)
        self.site.control_orders.answered(record, now)
        self.site.dirty = True

    def _on_grown(self, record: WorkerRecord, report: m.MemoryHigh, _now: float) -> None:
        limit = self.site.settings.workers.max_memory
        self.site.log("notice", "memory_grown", record, mebibytes=report.mebibytes, max_memory=limit)
        record.expired = record.expired or RetireReason.MAX_MEMORY
        self.site.dirty = True

    def _on_inspected(self, record: WorkerRecord, report: m.Inspected, now: float) -> None:
        for late in self.site.deadlines.inspected(report, self.staff.roster, now):
            self.site.overdue(late, now)
        self.site.control_orders.answered(record, now)

    def _on_inspect_failed(self, record: WorkerRecord, report: m.InspectFailed, now: float) -> None:
        self.site.log("warning", "inspection_failed", claim=report.claim, reason=report.message)
        self.site.deadlines.failed(report, self.staff.roster, now)
        self.site.control_orders.answered(record, now)

    def _on_failed(self, record: WorkerRecord, report: m.Failed, now: float) -> None:
        if record.state is not S.RETIRING:
            self.staff.roster.move(record, S.RETIRING, RetireReason(report.cause))
        self.timers.set(("child", record.id), now + LEAVE_GRACE)
        record.last_words = report.message
        self.site.log(
            "error", "pipe_lost", record, cause=report.cause, queue=record.queue,
            identity=_name(record.identity), reason=report.message,
        )  # fmt: skip
        if record.role is Role.CONTROL and not record.done:
            # It boots, but is of no use: back off all the same.
            self.staff.boot_failed(report.message, now, begun=record.started_at)
        self.site.dirty = True

    def _on_note(self, record: WorkerRecord, report: m.Note, _now: float) -> None:
        self.site.log(report.level, report.event, record, **report.fields)

    def _on_bye(self, record: WorkerRecord, report: m.Bye, _now: float) -> None:
        if record.state is not S.RETIRING:  # somebody else's TERM told it to go
            self.staff.roster.move(record, S.RETIRING, RetireReason.SHUTDOWN)
        record.said_bye = True
        self.site.log("debug", "leaving", record, reason=report.reason, pipe=report.pipe_exit)


def _name(identity: Identity | None) -> str | None:
    return None if identity is None else str(identity)
