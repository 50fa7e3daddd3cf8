"""The master's side of a site's flow: which worker works which queue, and where every claim is.

Takes reports and free workers, gives orders to send; sends nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from math import inf
from random import Random

from coworker.config.settings import SiteSettings
from coworker.ipc.messages import Claimed, Order, Run, Unanswered, Work, pack, unpack
from coworker.master.handoff import Refusals
from coworker.master.ledger import HandedGroup, Ledger, Place
from coworker.master.queue_states import Log, QueueStates
from coworker.master.settler import Settler
from coworker.model import SYSTEM, Identity, Item, Lease, QueueInfo, WorkerRecord
from coworker.policy import backoff, matching, polling, scheduling
from coworker.policy import timeouts as leases
from coworker.policy.scheduling import QueueState
from coworker.policy.settlement import in_running_order


class Dispatch:
    """`log(level, event, **fields)` takes what an administrator should know."""

    def __init__(self, settings: SiteSettings, log: Log, rng: Random) -> None:
        self.settings = settings
        self.watch = QueueStates(settings, log, rng)
        self.queues = self.watch.queues
        self.handed: list[HandedGroup] = []
        self.ledger = Ledger()
        self.can_give_back = True  # whether the site has what control needs for that
        self.home_domain: int | None = None  # see Staff
        self.crowded: frozenset[Identity] = frozenset()  # contacts that have as many workers as they may
        self.settler = Settler(settings, self.ledger, log, rng)
        self.refusals = Refusals(self.ledger, self.settler, log)
        self._batches: dict[int, int] = {}  # worker id → batches taken in its order
        self._log = log
        self._rng = rng

    def reconfigure(self, settings: SiteSettings) -> None:
        """After a reload."""
        self.settings = settings
        self.refusals.forget()
        self.settler.settings = settings
        self.watch.reconfigure(settings)

    # --- orders ---

    def assign(
        self, free: list[WorkerRecord], now: float, *, claim: bool, workers: Sequence[WorkerRecord] = ()
    ) -> list[tuple[WorkerRecord, Order]]:
        """Orders for free workers: handed items first, then a queue each. `claim`: new claims are allowed.

        `workers` are all that count for max_per_identity.
        """
        orders = self._place_handed(free, now, workers)
        self.crowded = full = matching.crowded(workers, self.settings.workers.max_per_identity)
        while claim and free and not self.settings.is_hybrid:
            state = scheduling.pick(
                self.queues.values(),
                now,
                lambda q: any(matching.fits(w, self.hint(q, now), full) for w in free),
            )
            if state is None:
                break
            worker = matching.choose(free, state.info.name, self.hint(state, now), full)
            if worker is None:
                break
            free.remove(worker)
            self.watch.clock = scheduling.begin(state)
            worker.queue = state.info.name
            self._batches[worker.id] = 0
            seconds, info = self.settings.workers.slice, list(astuple(state.info))
            bind = not self.settings.workers.max_per_identity  # else nobody would count them in time
            orders.append((worker, Work(info, seconds, self._quota(worker), bind)))
        return orders

    def hint(self, state: QueueState, now: float) -> Identity | None:
        waited = now - state.unserved_since if state.unserved_since else 0.0
        return matching.hint(state.last_identity, waited, self.crowded)

    def _quota(self, worker: WorkerRecord) -> int:
        """Without overlap a worker stops at its limit; with it, it goes on until its successor is ready."""
        if self.settings.workers.overlap or not worker.max_requests:
            return 0
        return max(1, worker.max_requests - worker.done)

    def _place_handed(
        self, free: list[WorkerRecord], now: float, workers: Sequence[WorkerRecord]
    ) -> list[tuple[WorkerRecord, Order]]:
        """A worker for each group that waits, as far as there is one; too old ones go back."""
        orders: list[tuple[WorkerRecord, Order]] = []
        limit = self.settings.workers.max_per_identity
        for group in list(self.handed):
            state = self.watch.state(group.claim.queue)
            full = state.limit and state.working >= state.limit
            crowded = matching.crowded(workers, limit)
            worker = None if full else matching.place(group.identity, free, crowded)
            if worker is not None:
                free.remove(worker)
                worker.promised = group.identity
                self._unhand(group)
                state.working += 1
                self.ledger.give(group.claim.id, group.ids, worker.id)
                worker.queue = group.claim.queue.name
                orders.append((worker, self._run_order(group)))
            elif now >= self._give_back_at(group):
                crowd = group.identity in crowded
                self.give_back_handed(group, delay=matching.CROWDED_DELAY if crowd else 0)
        return orders

    @staticmethod
    def _run_order(group: HandedGroup) -> Run:
        claim = group.claim
        leases = [list(lease) for lease in claim.leases]
        return Run(claim.id, list(astuple(claim.queue)), leases, pack(group.items))

    def _give_back_at(self, group: HandedGroup) -> float:
        """What cannot go back would be lost: it waits for its worker while enough of its lease is left."""
        if self.can_give_back:
            return group.since + matching.HANDED_LIMIT
        return group.claim.claimed_at + leases.PLACING_SHARE * leases.usable(group.claim.queue.lease_time)

    def wants(self, now: float) -> list[matching.Want]:
        """The work that waits for a worker: what is handed, then a queue each. Of use after `assign`."""
        wants = [
            matching.Want(group.identity, now - group.since, handed=True)
            for group in self.handed
            if group.identity not in self.crowded
        ]
        for state in self.queues.values():
            if not state.assignable(now):
                state.unserved_since = 0.0
                continue
            state.unserved_since = state.unserved_since or now
            if state.last_identity not in self.crowded:
                identity = state.last_identity or SYSTEM
                wants.append(matching.Want(identity, now - state.unserved_since, handed=False))
        return wants

    def waiting_since(self) -> list[float]:
        """Since when handed items and queues have waited for a worker that fits (monotonic seconds)."""
        queues = [state.unserved_since for state in self.queues.values() if state.unserved_since]
        return [*(group.since for group in self.handed), *queues]

    def next_at(self) -> float:
        """When something changes by itself: a queue's back-off ends, handed items have waited long enough."""
        moments = [state.retry_at for state in self.queues.values() if state.demand and state.retry_at]
        moments += [self._give_back_at(group) for group in self.handed]
        return min(moments, default=inf)

    # --- reports ---

    def took(self, worker: WorkerRecord, report: Claimed, now: float) -> int:
        """A claim came back with items. Returns how many the worker runs itself."""
        items = unpack(report.items)
        state = self.watch.state(self._info(report.queue))
        bind = not self.settings.workers.max_per_identity
        _, mine, _ = matching.split(items, worker.identity, worker.domain, bind=bind)
        self._claimed(worker, state, (mine or items)[0].identity, len(items), now)
        announced = worker.identity is None or worker.remote  # then it says so itself
        begun = [] if announced else [item.id for item in mine]
        lease = Lease(report.at, report.seconds)
        self.ledger.open(report.claim, state.info, worker.id, items, begun, [lease])
        return len(mine)

    def worked(self, worker: WorkerRecord, queue: str, identity: Identity, items: int, now: float) -> None:
        """So many items came and went."""
        self._claimed(worker, self.watch.state(self._info(queue)), identity, items, now)

    def _claimed(
        self, worker: WorkerRecord, state: QueueState, identity: Identity, items: int, now: float
    ) -> None:
        state.took(items, now)
        state.last_identity = identity
        self._batches[worker.id] = self._batches.get(worker.id, 0) + 1

    def _info(self, queue: str) -> QueueInfo:
        return self.queues[queue].info if queue in self.queues else QueueInfo(queue)

    def hand_on(self, worker: WorkerRecord, claim_id: str, ids: list[str], now: float) -> None:
        """The worker hands these on: they wait, in groups of one identity."""
        groups: dict[Identity, list[Item]] = {}
        for item in self.ledger.hand(claim_id, ids, worker.id):
            groups.setdefault(item.identity, []).append(item)
        claim = self.ledger.claims[claim_id]
        state = self.watch.state(claim.queue)
        for identity, items in groups.items():
            if not self._has_pipe_for(identity):
                reason = f"no pipe of this site serves domain {identity.domain}: see sites.NAME.domains"
                self.refusals.refuse(claim_id, [item.id for item in items], reason, Place.HANDED)
                state.last_identity = None  # nobody could ever take the queue for it
                continue
            self.handed.append(HandedGroup(claim, identity, items, now))
            state.handed += len(items)
            state.last_identity = identity

    def _unhand(self, group: HandedGroup) -> None:
        self.handed.remove(group)
        if state := self.queues.get(group.claim.queue.name):
            state.handed -= len(group.items)

    def give_back_handed(self, group: HandedGroup, *, delay: int = 0) -> None:
        """Nobody could take them: they were never begun."""
        self._unhand(group)
        cause = "no worker for it"
        self.settler.settle(group.claim, Place.HANDED, unsent=group.ids, cause=cause, delay=delay)

    def _has_pipe_for(self, identity: Identity) -> bool:
        """Whether some pipe of the site serves its domain, as far as is known."""
        if matching.serves_domain(self.home_domain, identity):
            return True
        return any(domain.number == identity.domain for domain in self.settings.domains)

    def unanswered(self, report: Unanswered, now: float) -> None:
        """RunItems had no outcome for these, but the pipe lives (design, section 4, rule 8)."""
        claim = self.ledger.claims[report.claim]
        queue, ids = claim.queue.name, report.ids
        self._log("error", "run_unanswered", queue=queue, items=",".join(ids), reason=report.message)
        if report.begun:
            self.settler.settle(claim, Place.HELD, sent=ids, cause=report.message)
        else:
            self.settler.settle(claim, Place.HELD, unsent=ids, cause=report.message)
            self.claim_failed(queue, report.message, now)

    def idle(self, worker: WorkerRecord, why: str, now: float) -> None:
        """The worker's order is over."""
        batches = self._batches.pop(worker.id, None)
        state = self.queues.get(worker.queue or "")
        if state is None:
            return
        state.working -= 1
        if batches is None:
            return  # it ran handed items, which is no turn of the queue
        if why == "empty":
            self._found_empty(state, batches, now)
        elif why != "failed":
            state.demand = max(1, state.demand)

    def fetched(self, queue: str, *, got: bool, failed: bool, now: float) -> None:
        """Control's turn at this queue is over; see Fetching."""
        if (state := self.queues.get(queue)) is not None:
            state.working -= 1
            if got:
                state.demand = max(1, state.demand)
            elif not failed:
                self._found_empty(state, 0, now)

    def _found_empty(self, state: QueueState, batches: int, now: float) -> None:
        state.demand = 0
        if batches:
            self.watch.next_look_at = now  # after work the next look follows at once
            return
        if not state.seen:
            return  # it was another worker's batch that promised more
        state.seen = False
        state.empty += 1
        if state.empty >= polling.EMPTY_PATIENCE:
            state.retry_at = now + polling.EMPTY_DELAY
        if state.empty == polling.EMPTY_PATIENCE:
            self._log(
                "notice",
                "queue_gives_nothing",
                queue=state.info.name,
                reason="it seems to have work, but claims come back empty: paused, or busy?",
            )

    def claim_failed(self, queue: str, message: str, now: float, *, cap: float = backoff.QUEUE_CAP) -> None:
        """The queue's own trouble: it backs off alone (design, section 2), for `cap` seconds at most."""
        state = self.watch.state(self._info(queue))
        state.failures += 1
        pause = backoff.delay(state.failures, self._rng, base=backoff.QUEUE_BASE, cap=cap)
        state.retry_at = now + pause
        self._log(
            "warning" if message != state.failure else "debug", "claim_failed", queue=queue,
            reason=message, failures=state.failures, retry_seconds=round(pause, 1),
        )  # fmt: skip
        state.failure = message

    def lost(
        self, worker: WorkerRecord, cause: str, now: float, *, stopped_by_us: bool, blameless: bool
    ) -> None:
        """The worker is gone and its pipe with it: what it had in hand must be settled.

        `stopped_by_us`: we ended it, at a stop. `blameless`: the site failed, not what it ran.
        """
        self._batches.pop(worker.id, None)
        if state := self.queues.get(worker.queue or ""):
            state.working -= 1
            state.demand = max(1, state.demand)
        if worker.claiming is not None:
            self.settler.lose(self._info(worker.claiming), worker.claiming_at, now, cause)
        for claim, held in self.ledger.held_by(worker.id):
            sent = [entry.item.id for entry in held if entry.begun]
            unsent = [entry.item.id for entry in held if not entry.begun]
            self.settler.settle(
                claim, Place.HELD, sent=in_running_order(sent), unsent=unsent, cause=cause,
                stopped_by_us=stopped_by_us, blameless=blameless, out_of_sight=worker.remote,
            )  # fmt: skip
