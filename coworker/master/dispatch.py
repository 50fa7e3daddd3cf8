"""The master's side of a site's work: which worker works which queue, and what each has in hand.

It takes reports and free workers and gives orders, but sends nothing. It alone writes an `Assignment`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from random import Random

from coworker.config.settings import SiteSettings
from coworker.ipc.messages import Claimed, Order, Run, Unanswered, Work
from coworker.ipc.packing import pack, unpack
from coworker.log import EventLog
from coworker.master.handoff import Handoff
from coworker.master.ledger import Claim, Ledger, Place
from coworker.master.queue_states import QueueStates
from coworker.master.roster import Roster
from coworker.master.settler import Settler
from coworker.model import SYSTEM, Identity, Lease, Unsettled, WorkerRecord
from coworker.policy import matching, scheduling
from coworker.policy.scheduling import QueueState
from coworker.policy.settlement import in_running_order


class Dispatch:
    """What the workers of one site work on."""

    def __init__(self, settings: SiteSettings, roster: Roster, log: EventLog, rng: Random) -> None:
        self.settings = settings
        self.queues = QueueStates(settings, log, rng)
        self.ledger = Ledger()
        self.settler = Settler(settings, self.ledger, log, rng)
        self.handoff = Handoff(settings, roster, self.ledger, self.queues, self.settler, log)
        self.crowded: frozenset[Identity] = frozenset()  # contacts that have as many workers as they may
        self._batches: dict[int, int] = {}  # worker id → batches taken in its order
        self._log = log

    def reconfigure(self, settings: SiteSettings) -> None:
        """Take the settings of a reload."""
        self.settings = self.settler.settings = settings
        self.handoff.reconfigure(settings)
        self.queues.reconfigure(settings)

    def assign(
        self, free: list[WorkerRecord], now: float, *, claim: bool, workers: Sequence[WorkerRecord] = ()
    ) -> list[tuple[WorkerRecord, Order]]:
        """Orders for free workers: handed items first, then a queue each. `claim`: new claims are allowed.

        `workers` are all that count for max_per_identity. A worker that gets an order is removed from `free`.
        """
        orders = self._place_handed(free, now, workers)
        self.crowded = self._crowded(workers)
        while claim and free and not self.settings.is_hybrid:
            state = self.next_queue(free, now)
            worker = state and matching.choose(free, state.info.name, self._hint(state, now), self.crowded)
            if state is None or worker is None:
                break
            free.remove(worker)
            self.queues.begin(state)
            worker.work.queue = state.info.name
            self._batches[worker.id] = 0
            bind = not self.settings.workers.max_per_identity  # else nobody would count them in time
            work = Work(state.info, self.settings.workers.slice, self._quota(worker), bind)
            orders.append((worker, work))
        return orders

    def _place_handed(
        self, free: list[WorkerRecord], now: float, workers: Sequence[WorkerRecord]
    ) -> list[tuple[WorkerRecord, Order]]:
        """Orders for the groups of handed items that wait, as far as there are workers for them."""
        orders: list[tuple[WorkerRecord, Order]] = []
        while placed := self.handoff.place(free, now, self._crowded(workers)):
            worker, group = placed
            claim = group.claim
            free.remove(worker)
            worker.work.promised = group.identity
            worker.work.queue = claim.queue.name
            orders.append((worker, Run(claim.id, claim.queue, claim.leases, pack(group.items))))
        return orders

    def _crowded(self, workers: Sequence[WorkerRecord]) -> frozenset[Identity]:
        return matching.crowded(workers, self.settings.workers.max_per_identity)

    def next_queue(self, free: Sequence[WorkerRecord], now: float) -> QueueState | None:
        """The queue whose turn it is, of those that one of these workers fits."""
        return scheduling.pick(
            self.queues.states.values(),
            now,
            lambda queue: any(matching.fits(w, self._hint(queue, now), self.crowded) for w in free),
        )

    def _hint(self, state: QueueState, now: float) -> Identity | None:
        waited = now - state.unserved_since if state.unserved_since else 0.0
        return matching.hint(state.last_identity, waited, self.crowded)

    def _quota(self, worker: WorkerRecord) -> int:
        """How many items the worker may still take; 0 for any number, since with overlap it goes on."""
        if self.settings.workers.overlap or not worker.max_requests:
            return 0
        return max(1, worker.max_requests - worker.work.done)

    def wants(self, now: float) -> list[matching.Want]:
        """The work that waits for a worker: handed items, then a queue each. Asked after `assign`."""
        wants = [
            matching.Want(group.identity, now - group.since, handed=True)
            for group in self.handoff.groups
            if group.identity not in self.crowded
        ]
        for state in self.queues.mark_unserved(now):
            if state.last_identity not in self.crowded:
                identity = state.last_identity or SYSTEM
                wants.append(matching.Want(identity, now - state.unserved_since, handed=False))
        return wants

    def next_at(self, now: float, boot_seconds: float) -> float:
        """When something changes by itself: a backoff ends, or something has waited long enough."""
        since = [state.unserved_since for state in self.queues.states.values() if state.unserved_since]
        since += [group.since for group in self.handoff.groups]
        moments = [each + patience for each in since for patience in (boot_seconds, matching.STARVING)]
        moments += [self.queues.next_at(), self.handoff.next_at()]
        return min((moment for moment in moments if moment > now), default=inf)

    @staticmethod
    def bound(worker: WorkerRecord, identity: Identity) -> None:
        """Note that the worker serves this identity, for life."""
        worker.work.identity, worker.work.promised = identity, None

    @staticmethod
    def claiming(worker: WorkerRecord, queue: str | None, at: float = 0.0) -> None:
        """Note that a claim was sent at `at` (monotonic seconds); with None, that none is under way."""
        worker.work.claiming = queue
        worker.work.claiming_at = at or worker.work.claiming_at

    @staticmethod
    def count(worker: WorkerRecord, done: int) -> bool:
        """Count what was done. Whether the worker has reached its limit with that."""
        before = worker.work.done
        worker.work.done += done
        return before < worker.max_requests <= worker.work.done

    def claimed(
        self, worker: WorkerRecord, report: Claimed, can_join: Callable[[], bool], now: float
    ) -> tuple[Claim, int, bool]:
        """Open a claim that brought items: (it, how many the worker runs itself, as `batch`)."""
        items = unpack(report.items)
        bind = not self.settings.workers.max_per_identity
        mine, _ = matching.split(items, worker.work.identity, worker.life.domain, bind=bind)
        identity = (mine or items)[0].identity
        asked_at = report.at - report.seconds
        one_more = self.batch(worker, report.queue, identity, len(items), asked_at, can_join, now)
        says_so = worker.work.identity is None or worker.remote  # when it sends them: RunSent
        begun = [] if says_so else [item.id for item in mine]
        lease = Lease(report.at, report.seconds, report.release)
        claim = self.ledger.open(
            report.claim, self.queues.info(report.queue), worker.id, items, begun, [lease]
        )
        return claim, len(mine), one_more

    def batch(
        self,
        worker: WorkerRecord,
        queue: str,
        identity: Identity,
        items: int,
        asked_at: float,
        can_join: Callable[[], bool],
        now: float,
    ) -> bool:
        """Note a batch whose claim was sent at `asked_at`. Whether one more worker is to join in."""
        self.claiming(worker, None, asked_at)
        worker.work.claims += 1
        self._batches[worker.id] = self._batches.get(worker.id, 0) + 1
        return self.queues.claimed(queue, items, identity, now, can_join)

    def unanswered(self, report: Unanswered, now: float) -> None:
        """Settle items for which runItems had no outcome, though the pipe lives (rule 8)."""
        claim = self.ledger.claims[report.claim]
        queue, ids = claim.queue.name, report.ids
        sent, unsent = (ids, []) if report.begun else ([], ids)
        is_of_queue = not report.begun or report.noted == []
        state = self.queues.states.get(queue)
        known = is_of_queue and state is not None and state.fails_as(report.message)
        level = "debug" if known else "error"
        self._log.event(level, "run_unanswered", queue=queue, items=",".join(ids), reason=report.message)
        part = Unsettled(sent, unsent, report.message, blameless=report.blameless, begun=report.noted)
        self.settler.settle(
            claim, Place.AT_WORKER, part._replace(by_itself=not report.blameless), quiet=known
        )
        if is_of_queue:
            self.queues.claim_failed(queue, report.message, now)

    def idle(self, worker: WorkerRecord, why: str, now: float) -> None:
        """End the worker's order; `why` as in messages.Idle."""
        queue, batches = worker.work.queue, self._batches.pop(worker.id, None)
        worker.work.promised = None
        worker.work.last_queue, worker.work.queue, worker.work.claiming = queue, None, None
        if queue is None:
            return
        if batches is None:  # it ran handed items, which does not use up a turn of the queue
            self.queues.left(queue, demand=False)
        elif why == "empty":
            self.queues.found_empty(queue, batches, now)
        else:
            self.queues.left(queue, demand=why != "failed")

    def fetched(self, queue: str, *, got: bool, failed: bool, now: float) -> None:
        """End control's turn at this queue; see control_orders.Fetches."""
        if got or failed:
            self.queues.left(queue, demand=got)
        else:
            self.queues.found_empty(queue, 0, now)

    def lost(
        self,
        worker: WorkerRecord,
        end: Unsettled,
        noted: Callable[[str], list[str] | None],
        now: float,
    ) -> None:
        """Settle what the worker had in hand: it and its pipe are gone. `end` says how, of no items yet.

        `noted`: the ids that the pipe noted as begun, by claim.
        """
        work = worker.work
        self._batches.pop(worker.id, None)
        if work.queue is not None:
            self.queues.left(work.queue, demand=True)
        if work.claiming is not None:
            self.settler.lose(self.queues.info(work.claiming), work.claiming_at, now, end.cause)
        for claim, entries in self.ledger.at_worker(worker.id):
            sent = in_running_order([entry.item.id for entry in entries if entry.begun])
            unsent = [entry.item.id for entry in entries if not entry.begun]
            unseen = end.out_of_sight or worker.remote
            part = end._replace(sent=sent, unsent=unsent, begun=noted(claim.id), out_of_sight=unseen)
            self.settler.settle(claim, Place.AT_WORKER, part)
