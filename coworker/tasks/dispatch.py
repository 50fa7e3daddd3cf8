"""The master's side of a site's flow: which worker works which queue, and where every claim is.

Takes reports and free workers, gives orders to send; sends nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from random import Random

from coworker.config.settings import SiteSettings
from coworker.model import SYSTEM, Identity, Item, QueueInfo, WorkerRecord
from coworker.policy import backoff, leases, matching, polling, scheduling
from coworker.policy.scheduling import QueueState
from coworker.tasks.ledger import Claim, HandedGroup, Ledger, Place
from coworker.tasks.settlements import Settlement, Settlements
from coworker.tasks.watch import Log, Watch
from coworker.wire.messages import Order, Run, Settle, Took, Unanswered, Work, pack, unpack

REFUSED_DELAY = 60  # seconds until what our set-up cannot run may be claimed again (design, section 5)


class Dispatch:
    """`log(level, event, **fields)` takes what an administrator should know."""

    def __init__(self, settings: SiteSettings, log: Log, rng: Random) -> None:
        self.settings = settings
        self.watch = Watch(settings, log, rng)
        self.queues = self.watch.queues
        self.handed: list[HandedGroup] = []
        self.ledger = Ledger()
        self.can_give_back = True  # whether the site has what control needs for that
        self.settlements = Settlements()
        self._batches: dict[int, int] = {}  # worker id → batches taken in its order
        self._log = log
        self._rng = rng

    def reconfigure(self, settings: SiteSettings) -> None:
        """After a reload."""
        self.settings = settings
        self.watch.reconfigure(settings)

    # --- orders ---

    def assign(
        self, free: list[WorkerRecord], now: float, *, claim: bool
    ) -> list[tuple[WorkerRecord, Order]]:
        """Orders for free workers: handed items first, then a queue each. `claim`: new claims are allowed."""
        orders = self._place_handed(free, now)
        while claim and free:
            state = scheduling.pick(self.queues.values(), now, {worker.identity for worker in free})
            if state is None:
                break
            worker = matching.choose(free, state.info.name, state.last_identity)
            if worker is None:
                break
            free.remove(worker)
            self.watch.clock = scheduling.begin(state)
            worker.queue = state.info.name
            self._batches[worker.id] = 0
            orders.append((worker, Work(state.info.name, self.settings.workers.slice, self._quota(worker))))
        return orders

    def _quota(self, worker: WorkerRecord) -> int:
        """Without overlap a worker stops at its limit; with it, it goes on until its successor is ready."""
        if self.settings.workers.overlap or not worker.max_requests:
            return 0
        return max(1, worker.max_requests - worker.done)

    def _place_handed(self, free: list[WorkerRecord], now: float) -> list[tuple[WorkerRecord, Order]]:
        """A worker for each group that waits, as far as there is one; too old ones go back."""
        orders: list[tuple[WorkerRecord, Order]] = []
        for group in list(self.handed):
            state = self.watch.state(group.claim.queue)
            full = state.limit and state.working >= state.limit
            worker = None if full else matching.place(group.identity, free)
            if worker is not None:
                free.remove(worker)
                self._unhand(group)
                state.working += 1
                self.ledger.give(group.claim.id, group.ids, worker.id)
                worker.queue = group.claim.queue.name
                orders.append((worker, Run(group.claim.id, group.claim.queue.name, pack(group.items))))
            elif now >= self._give_back_at(group):
                self.give_back_handed(group)
        return orders

    def _give_back_at(self, group: HandedGroup) -> float:
        """What cannot go back would be lost: it waits for its worker while enough of its lease is left."""
        if self.can_give_back:
            return group.since + matching.HANDED_LIMIT
        return group.claim.claimed_at + leases.PLACING_SHARE * leases.usable(group.claim.queue.lease_time)

    def wants(self, now: float) -> list[matching.Want]:
        """The work that waits for a worker: what is handed, then a queue each. Of use after `assign`."""
        wants = [matching.Want(group.identity, now - group.since, handed=True) for group in self.handed]
        for state in self.queues.values():
            if not state.assignable(now):
                state.unserved_since = 0.0
            else:
                state.unserved_since = state.unserved_since or now
                identity = state.last_identity or SYSTEM
                wants.append(matching.Want(identity, now - state.unserved_since, handed=False))
        return wants

    def waiting_since(self) -> list[float]:
        """Since when handed items and queues have waited for a worker that fits (monotonic seconds)."""
        queues = [state.unserved_since for state in self.queues.values() if state.unserved_since]
        return [*(group.since for group in self.handed), *queues]

    def next_at(self) -> float:
        """When something changes by itself: a queue's back-off ends, handed items have waited long enough."""
        moments = [state.retry_at for state in self.queues.values() if state.more and state.retry_at]
        moments += [self._give_back_at(group) for group in self.handed]
        return min(moments, default=inf)

    # --- reports ---

    def took(self, worker: WorkerRecord, report: Took, now: float) -> int:
        """A claim came back with items. Returns how many the worker runs itself."""
        items = unpack(report.items)
        state = self.watch.state(self._info(report.queue))
        state.took(len(items), now)
        self._batches[worker.id] = self._batches.get(worker.id, 0) + 1
        state.last_identity, mine, _ = matching.split(items, worker.identity)
        self.ledger.open(
            report.claim, state.info, worker.id, items, worker.identity, report.at, report.seconds
        )
        return len(mine)

    def _info(self, queue: str) -> QueueInfo:
        state = self.queues.get(queue)
        return state.info if state else QueueInfo(queue)

    def hand_on(self, worker: WorkerRecord, claim_id: str, ids: list[str], now: float) -> None:
        """The worker hands these on: they wait, in groups of one identity."""
        groups: dict[Identity, list[Item]] = {}
        for item in self.ledger.hand(claim_id, ids, worker.id):
            groups.setdefault(item.identity, []).append(item)
        claim = self.ledger.claims[claim_id]
        for identity, items in groups.items():
            self.handed.append(HandedGroup(claim, identity, items, now))
            state = self.watch.state(claim.queue)
            state.handed += len(items)
            state.last_identity = identity

    def _unhand(self, group: HandedGroup) -> None:
        self.handed.remove(group)
        if state := self.queues.get(group.claim.queue.name):
            state.handed -= len(group.items)

    def give_back_handed(self, group: HandedGroup) -> None:
        """Nobody could take them: they were never begun."""
        self._unhand(group)
        self._settle(group.claim, Place.HANDED, unsent=group.ids, cause="no worker for it")

    def refused(self, claim_id: str, ids: list[str], message: str) -> None:
        """Our set-up cannot run these. They must not be deleted for that."""
        claim = self.ledger.claims[claim_id]
        self._log("error", "items_refused", queue=claim.queue.name, items=_join(ids), reason=message)
        self._settle(claim, Place.HELD, unsent=ids, cause=message, delay=REFUSED_DELAY)

    def unanswered(self, report: Unanswered, now: float) -> None:
        """RunItems had no outcome for these, but the pipe lives (design, section 4, rule 8)."""
        claim = self.ledger.claims[report.claim]
        queue, ids = claim.queue.name, report.ids
        self._log("error", "run_unanswered", queue=queue, items=_join(ids), reason=report.message)
        if report.begun:
            self._settle(claim, Place.HELD, sent=ids, cause=report.message)
        else:
            self._settle(claim, Place.HELD, unsent=ids, cause=report.message)
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
            state.more = True

    def _found_empty(self, state: QueueState, batches: int, now: float) -> None:
        state.more = False
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
            "warning" if message != state.failure else "debug",
            "claim_failed",
            queue=queue,
            reason=message,
            failures=state.failures,
            retry_seconds=round(pause, 1),
        )
        state.failure = message

    def lost(self, worker: WorkerRecord, cause: str, *, ours: bool) -> None:
        """The worker is gone and its pipe with it: what it had in hand must be settled."""
        self._batches.pop(worker.id, None)
        if state := self.queues.get(worker.queue or ""):
            state.working -= 1
            state.more = True
        for claim, held in self.ledger.held_by(worker.id):
            sent = [entry.item.id for entry in held if entry.begun]
            if all(map(str.isdecimal, sent)):
                sent.sort(key=int)  # runItems fetches its items again, and runs them in order of their ids
            unsent = [entry.item.id for entry in held if not entry.begun]
            self._settle(claim, Place.HELD, sent=sent, unsent=unsent, cause=cause, ours=ours)

    def settle_orders(self, control: int, now: float) -> list[Settle]:
        """What this control is to settle now. What we have claimed again since is not the old claim's."""
        for ref, entry in list(self.settlements.pending.items()):
            taken = [] if entry.asked else [i for i in entry.ids if self.ledger.claimed_since(entry.claim, i)]
            if taken:
                self.ledger.settled(entry.claim.id, taken)
                entry.sent = [item_id for item_id in entry.sent if item_id not in taken]
                entry.unsent = [item_id for item_id in entry.unsent if item_id not in taken]
                if not entry.ids:
                    self.settlements.close(ref)
        return self.settlements.orders(control, now)

    def _settle(
        self,
        claim: Claim,
        place: Place,
        *,
        cause: str,
        sent: Iterable[str] = (),
        unsent: Iterable[str] = (),
        ours: bool = False,
        delay: int = 0,
    ) -> None:
        entry = Settlement(claim, list(sent), list(unsent), cause, ours, delay)
        self.ledger.settle(claim.id, entry.ids, place)
        self.settlements.add(entry)


def _join(ids: Iterable[str]) -> str:
    return ",".join(ids)
