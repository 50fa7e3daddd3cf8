"""When what a worker runs must be done, and when control must look after it.

The time-out is per item. Of a batch only the rows tell which item runs: one that vanished starts the next
one's time. A lease that would end before the batch may is renewed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import NamedTuple

from coworker.config.settings import SiteSettings
from coworker.ipc.messages import Inspect, Inspected, InspectFailed
from coworker.master.dispatch import Dispatch
from coworker.master.ledger import Claim, Place
from coworker.model import Lease, WorkerRecord
from coworker.policy import timeouts as leases

RETRY = 2.0  # seconds until control is asked again what it could not tell


class Asked(NamedTuple):
    """An inspection that control has not answered: when it was asked, and which control."""

    at: float
    control: int


class Deadlines:
    """Of one site. `set_deadline(record, at)` sets the moment at which its worker is looked after next."""

    def __init__(
        self, settings: SiteSettings, dispatch: Dispatch, set_deadline: Callable[[WorkerRecord, float], None]
    ) -> None:
        self.settings = settings
        self._dispatch = dispatch
        self._ledger = dispatch.ledger
        self._set_deadline = set_deadline
        self._asked: dict[str, Asked] = {}  # claim → …

    def claiming(self, record: WorkerRecord, now: float) -> None:
        """It has sent a claim."""
        self.idle(record)
        record.deadline = now + self.settings.workers.boot_timeout
        self._set_deadline(record, record.deadline)

    @staticmethod
    def idle(record: WorkerRecord) -> None:
        """It runs nothing."""
        record.running, record.deadline, record.look_at = None, 0.0, inf

    def begun(self, record: WorkerRecord, claim: Claim, count: int, now: float) -> None:
        """It is sent `count` items of the claim."""
        timeout = self.settings.task_timeout(claim.queue.name)
        record.running, record.running_left = claim.id, count
        record.task_deadline = now + timeout
        record.batch_deadline = now + count * timeout
        self._aim(record, claim, now)

    def _aim(self, record: WorkerRecord, claim: Claim, now: float) -> None:
        lease_time = claim.queue.lease_time
        lease_end = claim.lease_from + leases.usable(lease_time)
        record.deadline = min(record.batch_deadline, lease_end)
        record.look_at = inf
        if self._dispatch.can_give_back:  # it has what control needs for looking, too
            if record.task_deadline < record.batch_deadline:
                soon = now + leases.look_after(self.settings.task_timeout(claim.queue.name))
                record.look_at = max(now, min(soon, record.task_deadline))
            if lease_end < record.batch_deadline:
                record.look_at = max(
                    now, min(record.look_at, claim.lease_from + leases.renew_after(lease_time))
                )
        self._set_deadline(record, min(record.deadline, record.look_at))

    def asked(self, control: int) -> bool:
        """Whether this control has something to look at."""
        return any(asked.control == control for asked in self._asked.values())

    def due(self, records: Iterable[WorkerRecord], control: int, now: float) -> list[Inspect]:
        """What control is to look at now."""
        orders = []
        for record in records:
            claim = self._ledger.claims.get(record.running or "")
            if claim is None or now < record.look_at:
                continue
            record.look_at = inf
            if claim.id not in self._asked:
                self._asked[claim.id] = Asked(now, control)
                orders.append(self._order(claim, record, now))
        return orders

    def _order(self, claim: Claim, record: WorkerRecord, now: float) -> Inspect:
        lease_time = claim.queue.lease_time
        renew = (
            now >= claim.lease_from + leases.renew_after(lease_time)
            and claim.lease_from + leases.usable(lease_time) < record.batch_deadline
        )
        if renew:
            self._ledger.renew(claim, now)
        ids = [item_id for item_id, entry in claim.entries.items() if entry.place is not Place.SETTLING]
        values = [list(lease) for lease in claim.leases]
        return Inspect(claim.id, claim.queue.name, ids, values, lease_time, renew)

    def inspected(self, report: Inspected, records: Iterable[WorkerRecord], now: float) -> list[WorkerRecord]:
        """What control saw. Returns the workers whose task has taken too long."""
        asked, claim = self._asked.pop(report.claim, None), self._ledger.claims.get(report.claim)
        if asked is None or claim is None:
            return []
        failed = claim.renewing is not None and not report.at
        if claim.renewing is not None:
            lease = Lease(now, now - asked.at) if failed else Lease(report.at, report.seconds)
            self._ledger.renewed(claim, lease, certain=not failed)
        overdue = []
        for record in self._running(claim, records):
            if self._progress(record, claim, report, asked, now):
                self._aim(record, claim, now)
                if failed:
                    self._again(record, now)
            else:
                overdue.append(record)
        return overdue

    def _progress(
        self, record: WorkerRecord, claim: Claim, report: Inspected, asked: Asked, now: float
    ) -> bool:
        """Take note of how far it is; False if its one task had all its time."""
        there = frozenset(report.ids)
        left = sum(entry.item.id in there for entry in claim.held_by(record.id))
        if left < record.running_left:
            record.running_left = left
            record.task_deadline = now + self.settings.task_timeout(claim.queue.name)
            return True
        return asked.at < record.task_deadline

    def failed(self, report: InspectFailed, records: Iterable[WorkerRecord], now: float) -> None:
        """Control could not look."""
        self._lost(report.claim, records, now)

    def control_gone(self, control: int, records: Iterable[WorkerRecord], now: float) -> None:
        """It will not answer any more; what it was asked, it may have done."""
        for claim in [claim for claim, asked in self._asked.items() if asked.control == control]:
            self._lost(claim, records, now)

    def _lost(self, claim_id: str, records: Iterable[WorkerRecord], now: float) -> None:
        asked, claim = self._asked.pop(claim_id, None), self._ledger.claims.get(claim_id)
        if asked is None or claim is None:
            return
        if claim.renewing is not None:
            self._ledger.renewed(claim, Lease(now, now - asked.at), certain=False)
        for record in self._running(claim, records):
            self._again(record, now)

    def _again(self, record: WorkerRecord, now: float) -> None:
        record.look_at = now + RETRY
        self._set_deadline(record, min(record.deadline, record.look_at))

    @staticmethod
    def _running(claim: Claim, records: Iterable[WorkerRecord]) -> list[WorkerRecord]:
        return [record for record in records if record.running == claim.id]
