"""What the master asks control, and until when it must have answered."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from coworker.ipc import messages as m
from coworker.master.fetching import Fetching
from coworker.master.settler import Claiming
from coworker.model import Role, WorkerRecord

if TYPE_CHECKING:
    from coworker.master.site import Site

ROW_SECONDS = 0.1  # that control may take for each row it settles, at the most
FLUSH_PATIENCE = 1.0  # seconds for workers to say what they kept back; who is stopped says nothing


class ControlOrders:
    """Of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._minting: dict[tuple[int, int], int] = {}  # worker and contact of each token → control
        self.fetching = Fetching(site.dispatch)
        self._to_settle: frozenset[int] | None = None  # what waits for all workers to have said all
        self._silent: set[int] = set()  # those that have not yet
        self.flush_until = inf

    def turn(self, now: float, inspections: list[m.Inspect], *, free: bool) -> None:
        """All that is due now. `free`: somebody waits for work."""
        site = self._site
        control = site.staff.control()
        if control is None:
            return
        for inspection in inspections:
            self.ask(control, inspection, now, len(inspection.ids))
        if site.settings.is_hybrid and site.may_claim:
            for fetch in self.fetching.orders(site.staff.free(now), control.id, now):
                self.ask(control, fetch, now)
        self._settle(control, now)
        self.look(control, now, free=free)

    def look(self, control: WorkerRecord, now: float, *, free: bool) -> None:
        """Have it look for work, if it is time for that."""
        site, watch = self._site, self._site.dispatch.watch
        if site.may_look and not watch.looking and now >= watch.next_look_at:
            remembered = site.settler.crash_counts.queues()
            self.ask(control, watch.look(now, free=free, control=control.id, remembered=remembered), now)

    def _settle(self, control: WorkerRecord, now: float) -> None:
        site = self._site
        due = site.settler.due(now, in_haste=site.stopping or site.recovery.active)
        if not due:
            return
        if self._to_settle is None:
            self._flush(due, now)
        if self._silent and now < self.flush_until:
            return
        refs, self._to_settle, self.flush_until = self._to_settle or due, None, inf
        site.dirty = site.dirty or bool(due - refs)
        claiming = [Claiming(r.claiming, r.claiming_at) for r in site.staff.roster if r.claiming is not None]
        for order in site.settler.orders(control.id, now, claiming, refs):
            rows = len(order.sent) + len(order.unsent) if isinstance(order, m.Settle) else 0
            self.ask(control, order, now, rows)

    def _flush(self, due: frozenset[int], now: float) -> None:
        """Rows are judged only when all is known that we have claimed since: workers say that in passing."""
        site = self._site
        busy = [r for r in site.staff.roster.of(Role.WORKER) if r.queue is not None and not r.said_bye]
        for record in busy:
            site.effects.send(record, m.Flush())
        self._to_settle, self._silent = due, {record.id for record in busy}
        self.flush_until = now + FLUSH_PATIENCE

    def flushed(self, record: WorkerRecord) -> None:
        """It has said all, or will say nothing more."""
        self._silent.discard(record.id)

    def ask(self, control: WorkerRecord, order: m.Order, now: float, rows: int = 0) -> None:
        """Send it, and expect all answers of this control within a time that grows with what it was asked."""
        site = self._site
        site.effects.send(control, order)
        control.answers_at = max(control.answers_at, now) + rows * ROW_SECONDS
        site.staff.set_deadline(control, control.answers_at + site.settings.workers.boot_timeout)

    def answered(self, control: WorkerRecord, now: float) -> None:
        """Control is at work: the rest of what it was asked has its whole time again."""
        site = self._site
        asked = [e for e in site.settler.settlements.pending.values() if e.asked == control.id]
        rows = sum(len(entry.ids) for entry in asked)
        control.answers_at = now + rows * ROW_SECONDS
        looks = site.deadlines.asked(control.id) or site.dispatch.watch.looking == control.id
        busy = asked or looks or self.fetching.asked or self._minting
        site.staff.set_deadline(
            control, control.answers_at + site.settings.workers.boot_timeout if busy else None
        )

    def control_gone(self, control: int, now: float) -> None:
        """It answers nothing any more."""
        site = self._site
        site.settler.settlements.control_gone(control)
        self.fetching.control_gone(control, now)
        for worker, contact in [each for each, asked in self._minting.items() if asked == control]:
            self._hand(worker, m.Token(contact, "", m.NO_CONTROL))
            del self._minting[worker, contact]
        site.deadlines.control_gone(control, site.staff.roster, now)
        if site.dispatch.watch.looking == control:
            site.dispatch.watch.lost(now)

    def mint(self, worker: WorkerRecord, contact: int, now: float) -> None:
        """A worker wants a credential."""
        control = self._site.staff.control()
        if control is None:
            self._hand(worker.id, m.Token(contact, "", m.NO_CONTROL))
        else:
            self._minting[worker.id, contact] = control.id
            self.ask(control, m.IssueToken(worker.id, contact), now)

    def minted(self, report: m.TokenIssued) -> None:
        """Here it is."""
        self._minting.pop((report.worker, report.contact), None)
        self._hand(report.worker, m.Token(report.contact, report.credential, report.error))

    def _hand(self, worker: int, token: m.Token) -> None:
        record = self._site.staff.roster.get(worker)
        if record is not None:
            self._site.effects.send(record, token)
