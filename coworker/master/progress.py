"""What workers report of batches: claimed, ended, or both at once. Part of `reports`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coworker.ipc import messages as m
from coworker.model import Identity, Outcome, Role, WorkerRecord

if TYPE_CHECKING:
    from coworker.master.site import Site

_GONE = ("ok", "delete")  # outcomes that leave no row
_LEVELS = {"ok": "debug", "retry": "notice", "relinquish": "notice"}  # others are warnings


class Progress:
    """Of the workers of one site, and of control where it claims for them."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.dispatch = site.dispatch

    def took(self, record: WorkerRecord, report: m.Claimed, now: float) -> None:
        own = self.dispatch.took(record, report, now)
        self._claimed(record, report.at - report.seconds, now)
        if record.role is Role.CONTROL:
            return  # HandedOff follows
        self.site.deadlines.begun(record, self.dispatch.ledger.claims[report.claim], max(1, own), now)
        self._look_for_more_hands(report.queue, now)

    def worked(self, record: WorkerRecord, report: m.BatchDone, now: float) -> None:
        """Its next deadline is set by what it says next: this is never the last that it says."""
        self._claimed(record, report.asked_at, now)
        ids = self._note(record, report, report.queue, now)
        self.dispatch.worked(record, report.queue, Identity(report.contact, report.domain), len(ids), now)
        self._count(record, len(ids))
        self._look_for_more_hands(report.queue, now)

    def done(self, record: WorkerRecord, report: m.Done, now: float) -> None:
        record.progress_at = now
        claim = self.dispatch.ledger.claims.get(report.claim)
        ids = self._note(record, report, claim.queue.name if claim else "", now)
        self._count(record, self.dispatch.ledger.end(report.claim, ids, record.id))

    def ended(self, record: WorkerRecord, report: m.Ended, _now: float) -> None:
        self._count(record, self.dispatch.ledger.end(report.claim, report.ids, record.id))

    @staticmethod
    def _claimed(record: WorkerRecord, asked_at: float, now: float) -> None:
        record.claiming, record.claiming_at = None, asked_at
        record.claims += 1
        record.progress_at = now

    def _look_for_more_hands(self, queue: str, now: float) -> None:
        """Deciding costs more than a batch's other bookkeeping: only when one more worker could join in."""
        state = self.dispatch.queues[queue]
        if state.assignable(now) and self.site.staff.can_join():
            self.site.dirty = True
        else:
            state.demand = min(1, state.demand)  # what it proves now says nothing of later

    def _count(self, record: WorkerRecord, items: int) -> None:
        before = record.done
        record.done += items
        if before < record.max_requests <= record.done:
            self.site.dirty = True

    def _note(self, record: WorkerRecord, report: m.Done | m.BatchDone, queue: str, now: float) -> list[str]:
        """Log outcomes, and remember what settling must know of them. Returns the ids of the items."""
        log_ok = self.site.effects.wants(_LEVELS[Outcome.OK])  # asked once, not for each item
        ids = [item_id for _, run in report.outcomes for item_id in run]
        settler = self.dispatch.settler
        for outcome, run in report.outcomes:
            if log_ok or outcome != Outcome.OK:
                who = str(record.identity) if record.identity else None
                for item_id in run:
                    self.site.log(
                        _LEVELS.get(outcome, "warning"), "task_done", record, queue=queue, item=item_id,
                        outcome=outcome, identity=who, seconds=round(report.seconds / len(ids), 6),
                        **report.errors.get(item_id, {}),
                    )  # fmt: skip
            if outcome == Outcome.ABORT:
                self.site.dirty = True
            if outcome not in _GONE:
                settler.remember(queue, run, now)
        if settler.crash_counts:
            settler.crash_counts.forget(queue, ids)
        return ids
