"""When children must have done what they were told, and what happens to those that have not.

Each child has one timer (`Watchdog`); one that is late goes down the ladder. `Deadlines` times what a worker
runs, item by item. Which item of a batch runs its pipe may have noted; else only the rows tell, so control
inspects them, and when one has vanished the time of the next begins. The lease of a batch that may outlast it
is renewed.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from coworker.claims.beginnings import Beginnings
from coworker.config.settings import SiteSettings
from coworker.ipc.messages import Inspect, Inspected, Retire
from coworker.master.effects import Effects
from coworker.master.ledger import Claim, Ledger, Place
from coworker.master.roster import Roster
from coworker.model import Lease, RetireReason, Role, WorkerRecord
from coworker.model import WorkerState as S
from coworker.policy import timeouts
from coworker.policy.timeouts import PATIENCE, Step

LEAVE_GRACE = 10.0  # seconds for a child with nothing to do to end its pipe and go
ROW_SECONDS = 0.1  # that control may take for each row it settles, at most
PAUSES_KEPT = 50  # that are remembered
RETRY = 2.0  # seconds until control is asked again for what it could not tell


@dataclass(slots=True)
class Watchdog:
    """One timer for each child, and the ladder for one that is late: message, TERM, KILL (process rule 5).

    `overdue(record, now)` is called when a child's time is up.
    """

    effects: Effects
    roster: Roster
    overdue: Callable[[WorkerRecord, float], object]
    _rungs: dict[int, int] = field(default_factory=dict)  # child → steps of the ladder taken

    def set(self, record: WorkerRecord, at: float) -> None:
        """Set the child's timer to `at` (monotonic seconds)."""
        self.effects.timers.set(("child", record.id), at, lambda now: self.overdue(record, now))

    def clear(self, record: WorkerRecord) -> None:
        """Stop the child's timer: nothing that it does is timed."""
        self.effects.timers.cancel(("child", record.id))

    def set_deadline(self, record: WorkerRecord, at: float | None) -> None:
        """Set or stop the timer of a child, unless it is on the ladder or is a control that leaves."""
        if record.id in self._rungs or (record.role is Role.CONTROL and record.life.state is S.RETIRING):
            return
        if at is None:
            self.clear(record)
        else:
            self.set(record, at)

    def on_ladder(self, record: WorkerRecord) -> bool:
        """Whether the child has been late, or was told to end its pipe at once."""
        return record.id in self._rungs

    def told_to_end(self, record: WorkerRecord, now: float) -> None:
        """Note that the child was told to end its pipe at once: that is the first rung."""
        self._rungs[record.id] = 1
        self.set(record, now + PATIENCE[Step.MESSAGE])

    def next_rung(self, record: WorkerRecord, now: float) -> None:
        """Take the next step against a child that did not do in time what it was told."""
        rung = self._rungs.get(record.id, 0)
        self._rungs[record.id] = rung + 1
        # Control runs no task, and others wait for what it was asked: no ladder for it.
        step = timeouts.next_step(rung) if record.role is Role.WORKER else Step.KILL
        life, work, progress_at = record.life, record.work, record.timing.progress_at
        life.log.event(
            "error", "overdue", state=life.state.value, queue=work.queue,
            seconds=round(now - progress_at, 1) if progress_at else None,
            identity=str(work.identity) if work.identity else None, step=step.value,
        )  # fmt: skip
        if life.state is not S.RETIRING:
            self.roster.move(record, S.RETIRING, RetireReason.TIMEOUT)
        if step is Step.MESSAGE:
            self.effects.send(record, Retire(RetireReason.TIMEOUT.value, now=True))
        elif step is Step.TERM:
            self.effects.signal(record, signal.SIGTERM)
        else:
            self.effects.signal(record, signal.SIGKILL)  # its pipe is killed when it is reaped
        self.set(record, now + PATIENCE[step])

    def forget(self, record: WorkerRecord) -> None:
        """Forget a child that has gone."""
        self._rungs.pop(record.id, None)
        self.clear(record)


class Asked(NamedTuple):
    """An inspection that control has not answered: when it was asked for, and of which control."""

    at: float
    control: int


class Deadlines:
    """The times of a site's workers, and of what its control was asked. Nothing else writes a `Timing`."""

    def __init__(
        self,
        settings: SiteSettings,
        ledger: Ledger,
        watchdog: Watchdog,
        notes: Callable[[WorkerRecord], Beginnings],
    ) -> None:
        """`notes` reads what the pipe of a worker has noted."""
        self.settings = settings
        self._notes = notes
        self._ledger = ledger
        self._watchdog = watchdog
        self._pauses: list[tuple[float, float]] = []  # (end in monotonic seconds, seconds)
        self._asked: dict[str, Asked] = {}  # claim → its inspection under way

    @staticmethod
    def progressed(record: WorkerRecord, now: float) -> None:
        """Note that the worker has reported something of its work."""
        record.timing.progress_at = now

    def claiming(self, record: WorkerRecord, now: float) -> None:
        """Note that the worker has sent a claim, and time the answer."""
        self.idle(record)
        record.timing.deadline = now + self.settings.workers.boot_timeout
        self._watchdog.set_deadline(record, record.timing.deadline)

    @staticmethod
    def idle(record: WorkerRecord) -> None:
        """Note that the worker runs nothing."""
        timing = record.timing
        timing.running, timing.deadline, timing.inspect_at = None, 0.0, inf

    def begun(self, record: WorkerRecord, claim: Claim, count: int, now: float) -> None:
        """Note that the worker is sent `count` items of the claim, and time them."""
        timing, timeout = record.timing, self.settings.task_timeout(claim.queue.name)
        timing.running, timing.running_left = claim.id, count
        timing.task_deadline = now + timeout
        timing.batch_deadline = now + count * timeout
        self._aim(record, claim, now)

    def _aim(self, record: WorkerRecord, claim: Claim, now: float) -> None:
        timing, lease_time = record.timing, claim.queue.lease_time
        lease_end = claim.lease_from + timeouts.usable(lease_time)
        timing.deadline = min(timing.batch_deadline, lease_end)
        timing.inspect_at = inf
        if self._watchdog.roster.gives_back:
            if timing.task_deadline < timing.batch_deadline and not record.life.notes:
                soon = now + timeouts.inspect_after(self.settings.task_timeout(claim.queue.name))
                timing.inspect_at = max(now, min(soon, timing.task_deadline))
            if lease_end < timing.batch_deadline:
                renew_at = claim.lease_from + timeouts.renew_after(lease_time)
                timing.inspect_at = max(now, min(timing.inspect_at, renew_at))
            if claim.leases[-1].release is None:
                shown_at = claim.leases[-1].at + timeouts.SHOWN_AFTER
                timing.inspect_at = max(now, min(timing.inspect_at, shown_at))
        task_deadline = timing.task_deadline if record.life.notes else inf
        self._watchdog.set_deadline(record, min(timing.deadline, timing.inspect_at, task_deadline))

    def not_yet(self, record: WorkerRecord, now: float) -> bool:
        """Whether the worker's timer only meant that its batch is to be inspected now."""
        timing = record.timing
        if now >= timing.deadline or self._watchdog.on_ladder(record):
            return False
        if record.life.notes and now >= timing.task_deadline:
            return self._goes_on(record, now)
        if timing.inspect_at <= now:
            self._watchdog.set(record, timing.deadline)
            return True
        return False

    def _goes_on(self, record: WorkerRecord, now: float) -> bool:
        """Whether the task that its pipe noted last has time left; if nobody can say, the rows will tell."""
        timing, claim = record.timing, self._ledger.claims.get(record.timing.running or "")
        noted = self._notes(record).of(claim.id) if claim is not None else []
        if claim is None or noted == []:
            return False
        if noted is None:
            timing.inspect_at = now
            self._watchdog.set(record, timing.deadline)
            return True
        since = min(now, noted[-1].moved_at)
        paused = sum(seconds for at, seconds in self._pauses if at > since)
        timing.task_deadline = since + paused + self.settings.task_timeout(claim.queue.name)
        self._aim(record, claim, now)
        return timing.task_deadline > now

    def control_asked(self, control: WorkerRecord, now: float, rows: int = 0) -> None:
        """Give control a time for all its answers, which grows with what it was asked."""
        timing = control.timing
        timing.answers_at = max(timing.answers_at, now) + rows * ROW_SECONDS
        self._watchdog.set_deadline(control, timing.answers_at + self.settings.workers.boot_timeout)

    def control_answered(self, control: WorkerRecord, now: float, rows: int, *, busy: bool) -> None:
        """Give control its whole time again for the `rows` that are left to it: it is at work."""
        control.timing.answers_at = now + rows * ROW_SECONDS
        at = control.timing.answers_at + self.settings.workers.boot_timeout
        self._watchdog.set_deadline(control, at if busy else None)

    def paused(self, records: Iterable[WorkerRecord], now: float, seconds: float) -> None:
        """Move all times: for so many seconds until `now` nothing ran, no task either."""
        self._pauses = [*self._pauses[1 - PAUSES_KEPT :], (now, seconds)]
        for record in records:
            timing = record.timing
            timing.deadline += seconds if timing.deadline else 0.0
            timing.task_deadline += seconds
            timing.batch_deadline += seconds
            timing.inspect_at += seconds
            timing.answers_at += seconds

    def asked(self, control: int) -> bool:
        """Whether this control was asked to inspect something."""
        return any(asked.control == control for asked in self._asked.values())

    def due(self, records: Iterable[WorkerRecord], control: int, now: float) -> list[Inspect]:
        """What this control is to inspect now."""
        orders = []
        for record in records:
            claim = self._ledger.claims.get(record.timing.running or "")
            if claim is None or now < record.timing.inspect_at:
                continue
            record.timing.inspect_at = inf
            if claim.id not in self._asked:
                self._asked[claim.id] = Asked(now, control)
                orders.append(self._order(claim, record, now))
        return orders

    def _order(self, claim: Claim, record: WorkerRecord, now: float) -> Inspect:
        lease_time = claim.queue.lease_time
        renew = (
            now >= claim.lease_from + timeouts.renew_after(lease_time)
            and claim.lease_from + timeouts.usable(lease_time) < record.timing.batch_deadline
        )
        if renew:
            self._ledger.renew(claim, now)
        ids = [item_id for item_id, entry in claim.entries.items() if entry.place is not Place.SETTLING]
        return Inspect(claim.id, claim.queue, ids, claim.leases, renew)

    def inspected(self, report: Inspected, records: Iterable[WorkerRecord], now: float) -> list[WorkerRecord]:
        """Take what control saw. Returns the workers whose task has taken too long."""
        asked, claim = self._asked.pop(report.claim, None), self._ledger.claims.get(report.claim)
        if asked is None or claim is None:
            return []
        failed = claim.renewing is not None and not report.at
        if claim.renewing is not None:
            lease = Lease(report.at, report.seconds, report.release)
            if failed:
                lease = Lease(now, now - asked.at, "")
            self._ledger.renewed(claim, lease, certain=not failed)
        elif claim.leases[-1].release is None:
            self._ledger.shown(claim, report.release)
        overdue = []
        for record in _running(claim, records):
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
        """Note how far the worker has come. False if the task that it runs has had all its time."""
        there, timing = frozenset(report.ids), record.timing
        left = sum(entry.item.id in there for entry in claim.at_worker(record.id))
        if left < timing.running_left:
            timing.running_left = left
            timing.task_deadline = now + self.settings.task_timeout(claim.queue.name)
            return True
        return asked.at < timing.task_deadline

    def control_gone(self, control: int, records: Iterable[WorkerRecord], now: float) -> None:
        """Ask again what this control, which answers no more, was asked: it may have done it all the same."""
        for claim in [claim for claim, asked in self._asked.items() if asked.control == control]:
            self.failed(claim, records, now)

    def failed(self, claim_id: str, records: Iterable[WorkerRecord], now: float) -> None:
        """Note that the claim was not inspected, as far as is known, and have control asked again."""
        asked, claim = self._asked.pop(claim_id, None), self._ledger.claims.get(claim_id)
        if asked is None or claim is None:
            return
        if claim.renewing is not None:
            self._ledger.renewed(claim, Lease(now, now - asked.at, ""), certain=False)
        for record in _running(claim, records):
            self._again(record, now)

    def _again(self, record: WorkerRecord, now: float) -> None:
        record.timing.inspect_at = now + RETRY
        self._watchdog.set_deadline(record, min(record.timing.deadline, record.timing.inspect_at))


def _running(claim: Claim, records: Iterable[WorkerRecord]) -> list[WorkerRecord]:
    return [record for record in records if record.timing.running == claim.id]
