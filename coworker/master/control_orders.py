"""What control is asked (looks, settlements, inspections, fetches, tokens), and what its answers mean.

Every handler of a report returns whether the site has something to decide because of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

from coworker.ipc import messages as m
from coworker.master.deadlines import Deadlines
from coworker.master.dispatch import Dispatch
from coworker.master.effects import Effects
from coworker.master.roster import Roster
from coworker.model import Role, WorkerRecord

FLUSH_PATIENCE = 1.0  # seconds for workers to say what they kept back; who is stopped says nothing

Handler = Callable[[WorkerRecord, Any, float], bool]  # takes a report; whether to decide again


@dataclass(slots=True)
class FlushBarrier:
    """The wait before rows are judged: first all must be known that we have claimed since.

    Workers say that in passing. So each one at work is told to say now what it has kept back.
    """

    effects: Effects
    roster: Roster
    until: float = inf  # monotonic seconds: when the wait ends, whoever is still silent
    _refs: frozenset[int] | None = None  # the settlements that wait for it
    _silent: set[int] = field(default_factory=set)  # workers that have not said all yet

    def passed(self, due: frozenset[int], now: float) -> frozenset[int] | None:
        """The `due` settlements that may be asked for now; None while a worker has not said all."""
        if self._refs is None:
            workers = self.roster.of(Role.WORKER)
            busy = [r for r in workers if r.work.queue is not None and not r.life.said_bye]
            for record in busy:
                self.effects.send(record, m.Flush())
            self._refs, self._silent = due, {record.id for record in busy}
            self.until = now + FLUSH_PATIENCE
        if self._silent and now < self.until:
            return None
        refs, self._refs, self.until = self._refs, None, inf
        return refs

    def said_all(self, record: WorkerRecord) -> None:
        """Note that the worker has said all, or will say nothing more."""
        self._silent.discard(record.id)


@dataclass(slots=True)
class Fetches:
    """The claims that control makes for free workers that cannot (control by pipe, work over HTTP)."""

    dispatch: Dispatch
    asked: list[tuple[str, int]] = field(default_factory=list)  # queue and control of each under way

    def orders(self, free: Sequence[WorkerRecord], control: int, now: float) -> list[m.Fetch]:
        """What control is to fetch now, for the workers that are free once handed items have theirs."""
        orders = []
        for _ in range(len(free) - len(self.dispatch.handoff.groups) - len(self.asked)):
            state = self.dispatch.next_queue(free, now)
            if state is None:
                break
            self.dispatch.queues.begin(state)
            self.asked.append((state.info.name, control))
            orders.append(m.Fetch(state.info))
        return orders

    def fetched(self, report: m.Fetched, control: int, now: float) -> None:
        """Note that a fetch has ended; what it got was handed off."""
        self.asked.remove((report.queue, control))
        self.dispatch.fetched(report.queue, got=report.got, failed=report.failed, now=now)

    def control_gone(self, control: int, now: float) -> None:
        """Forget what this control was to fetch. Its claim without an answer is settled all the same."""
        for queue, _ in [each for each in self.asked if each[1] == control]:
            self.dispatch.fetched(queue, got=True, failed=False, now=now)
        self.asked = [each for each in self.asked if each[1] != control]


@dataclass(slots=True)
class TokenRequests:
    """The short-lived credentials that workers over HTTP want: control makes, the master carries them."""

    effects: Effects
    roster: Roster
    asked: dict[tuple[int, int], int] = field(default_factory=dict)  # worker and contact of each → control

    def issued(self, report: m.TokenIssued) -> None:
        """Carry a credential to the worker that asked for it."""
        self.asked.pop((report.worker, report.contact), None)
        self.answer(report.worker, m.Token(report.contact, report.credential, report.error))

    def control_gone(self, control: int) -> None:
        """Tell workers that this control answers no more, so that they may ask again."""
        for worker, contact in [each for each, asked in self.asked.items() if asked == control]:
            self.answer(worker, m.Token(contact, "", m.NO_CONTROL))
            del self.asked[worker, contact]

    def answer(self, worker: int, token: m.Token) -> None:
        """Give the token to the worker, if that is still there."""
        record = self.roster.get(worker)
        if record is not None:
            self.effects.send(record, token)


@dataclass
class ControlOrders:
    """The orders to the control of one site. `overdue(record, now)` is told of a worker that is late."""

    effects: Effects
    roster: Roster
    dispatch: Dispatch
    deadlines: Deadlines
    overdue: Callable[[WorkerRecord, float], object]

    def __post_init__(self) -> None:
        self.barrier = FlushBarrier(self.effects, self.roster)
        self.fetches = Fetches(self.dispatch)
        self.tokens = TokenRequests(self.effects, self.roster)

    def handlers(self) -> dict[type, Handler]:
        answers: dict[type, Handler] = {
            m.WorkFound: self._work_found,
            m.LookFailed: self._look_failed,
            m.Fetched: self._fetched,
            m.TokenIssued: self._token_issued,
            m.Settled: self._settled,
            m.SettleFailed: self._settle_failed,
            m.Inspected: self._inspected,
            m.InspectFailed: self._inspect_failed,
        }
        timed = {kind: partial(self._answered, take) for kind, take in answers.items()}
        return {m.TokenWanted: self._token_wanted, **timed}

    def inspections(self, now: float) -> list[m.Inspect]:
        """The inspections that are due: of workers whose task may take too long or whose lease may end."""
        control = self.roster.control()
        return [] if control is None else self.deadlines.due(self.roster.workers(), control.id, now)

    def inspect(self, inspections: Sequence[m.Inspect], now: float) -> None:
        """Have control make these inspections."""
        for inspection in inspections:
            self._ask(inspection, now, len(inspection.ids))

    def fetch(self, free: Sequence[WorkerRecord], now: float) -> None:
        """Have control claim for free workers that cannot claim themselves."""
        control = self.roster.control()
        if control is not None:
            for order in self.fetches.orders(free, control.id, now):
                self._ask(order, now)

    def settle(self, now: float, *, in_haste: bool) -> bool:
        """Have control end what is due, once all we have claimed since is known. Whether more is due.

        `in_haste`: see Settler.due.
        """
        control, settler = self.roster.control(), self.dispatch.settler
        due = settler.due(now, in_haste=in_haste) if control is not None else None
        refs = self.barrier.passed(due, now) if due else None
        if control is None or due is None or refs is None:
            return False
        claiming = [record.work for record in self.roster if record.work.claiming is not None]
        for order in settler.orders(control.id, now, claiming, refs):
            self._ask(order, now, len(order.part.ids) if isinstance(order, m.Settle) else 0)
        return bool(due - refs)

    def look(self, now: float, *, free: bool) -> None:
        """Have control look for work, if it is time for that. `free`: a worker waits for work."""
        control, queues = self.roster.control(), self.dispatch.queues
        if control is not None and not queues.looks.asked and now >= queues.looks.next_at:
            remembered = self.dispatch.settler.crash_counts.queues()
            self._ask(queues.look(now, free=free, control=control.id, remembered=remembered), now)

    def _ask(self, order: m.Order, now: float, rows: int = 0) -> None:
        """Send control an order. The time that it may take grows with the rows that it has to read."""
        control = self.roster.control()
        if control is not None:
            self.effects.send(control, order)
            self.deadlines.control_asked(control, now, rows)

    def _token_wanted(self, worker: WorkerRecord, report: m.TokenWanted, now: float) -> bool:
        """Have a credential made for the worker, or refuse it where there is no control."""
        control = self.roster.control()
        if control is None:
            self.tokens.answer(worker.id, m.Token(report.contact, "", m.NO_CONTROL))
        else:
            self.tokens.asked[worker.id, report.contact] = control.id
            self._ask(m.IssueToken(worker.id, report.contact), now)
        return False

    def _answered(self, take: Handler, control: WorkerRecord, report: Any, now: float) -> bool:
        """Take an answer, and give control its whole time again for the rest that it was asked."""
        again = take(control, report, now)
        pending = self.dispatch.settler.settlements.pending.values()
        asked = [entry for entry in pending if entry.asked == control.id]
        reads = self.deadlines.asked(control.id) or self.dispatch.queues.looks.asked == control.id
        busy = bool(asked or reads or self.fetches.asked or self.tokens.asked)
        rows = sum(len(entry.ids) for entry in asked)
        self.deadlines.control_answered(control, now, rows, busy=busy)
        return again

    def _work_found(self, control: WorkerRecord, report: m.WorkFound, now: float) -> bool:
        """Take the result of a look. If there is no work, and was none, there is nothing to decide."""
        queues = self.dispatch.queues
        idle = not report.queues and not queues.states
        self.dispatch.count(control, 1)
        queues.work_found(report, now)
        self.dispatch.settler.crash_counts.forget_queues(report.rowless)
        if self.effects.log_looking:
            names = ",".join(info.name for info in report.queues)
            control.life.log.event("info", "looked", queues=names or None, seconds=report.seconds)
        return not idle

    def _look_failed(self, _control: WorkerRecord, report: m.LookFailed, now: float) -> bool:
        self.dispatch.queues.looks.failed(report.message, now)
        return True

    def _fetched(self, control: WorkerRecord, report: m.Fetched, now: float) -> bool:
        self.dispatch.claiming(control, None)
        self.fetches.fetched(report, control.id, now)
        return True

    def _token_issued(self, _control: WorkerRecord, report: m.TokenIssued, _now: float) -> bool:
        self.tokens.issued(report)
        return False

    def _settled(self, _control: WorkerRecord, report: m.Settled, now: float) -> bool:
        self.dispatch.settler.settled(report, now)
        return True

    def _settle_failed(self, _control: WorkerRecord, report: m.SettleFailed, now: float) -> bool:
        self.dispatch.settler.failed(report, now)
        return True

    def _inspected(self, _control: WorkerRecord, report: m.Inspected, now: float) -> bool:
        late = self.deadlines.inspected(report, self.roster, now)
        for record in late:
            self.overdue(record, now)
        return bool(late)

    def _inspect_failed(self, control: WorkerRecord, report: m.InspectFailed, now: float) -> bool:
        control.life.log.event("warning", "inspection_failed", claim=report.claim, reason=report.message)
        self.deadlines.failed(report.claim, self.roster, now)
        return False

    def control_gone(self, control: int, now: float) -> None:
        """Give up all that this control was asked: it answers no more."""
        self.dispatch.settler.settlements.control_gone(control)
        self.fetches.control_gone(control, now)
        self.tokens.control_gone(control)
        self.deadlines.control_gone(control, self.roster, now)
        self.dispatch.queues.looks.lost(control, now)
