"""The master's side of settling: what must be ended, the orders for that, and what their answers mean."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import inf
from random import Random

from coworker.claims.checkpoint import Checkpoint, LostIntent, SavedClaim, Snapshot
from coworker.config.settings import SiteSettings
from coworker.ipc.messages import Search, Settle, Settled, SettleFailed
from coworker.log import EventLog
from coworker.master.crash_counts import CrashCounts, SparedDeaths
from coworker.master.ledger import Claim, Ledger, Place
from coworker.master.settlements import LostClaim, Settlement, Settlements
from coworker.model import Assignment, Item, Lease, QueueInfo, Unsettled
from coworker.policy.settlement import Fate, suspects

SEARCH_DELAY = 3.5  # seconds until what others claim now cannot be taken for the rows of a lost claim
SEARCH_PAUSE = 0.2  # seconds between checks whether a search can begin
REMEMBERED = 300.0  # seconds for which the ids of ended items are kept
POISONED = "CiviCRM will not call it again, but delete it or abort the queue, as the queue says"
MANY = 1000  # ended items from which on old ones are dropped
ENDED = (Fate.FINISHED.value, Fate.LEFT.value)  # no worker was brought down; other fates do not prove that


class Settler:
    """Everything of one site that must be settled: parts of claims, and claims without an answer."""

    def __init__(self, settings: SiteSettings, ledger: Ledger, log: EventLog, rng: Random) -> None:
        self.settings = settings
        self.settlements = Settlements()
        self.crash_counts = CrashCounts()
        self.spared_deaths = SparedDeaths()
        self._ledger = ledger
        self._log = log
        self._rng = rng
        self._ended: dict[tuple[str, str], float] = {}  # (queue, id) of rows that may still show our lease

    def settle(
        self, claim: Claim, place: Place, part: Unsettled, *, recovered: bool = False, quiet: bool = False
    ) -> None:
        """Have control find out what became of these items, which were in `place`.

        `quiet`: why they must be settled has been logged often enough.
        """
        queue, may_be = claim.queue.name, suspects(part, claim.queue)
        limit, poisoned = self.settings.workers.crash_limit, list[str]()
        if limit and not (part.stopped_by_us or part.blameless):
            poisoned = self.crash_counts.would_be(queue, may_be, limit)
        unspared = self.spared_deaths.unspared(queue, may_be) if part.signalled else []
        part = part._replace(poisoned=poisoned, unspared=unspared)
        self._ledger.settle(claim.id, part.ids, place)
        self.settlements.add(Settlement(claim, part, recovered=recovered, quiet=quiet))

    def lose(
        self, queue: QueueInfo, since: float, until: float, cause: str, *, recovered: bool = False
    ) -> None:
        """Have a claim searched for that was not answered before its sender was gone (rule 7)."""
        not_before = until + SEARCH_DELAY
        lost = LostClaim(queue, since, until, cause, not_before=not_before, recovered=recovered)
        self.settlements.add(lost)
        self._ledger.changed = True

    def remember(self, queue: str, ids: Iterable[str], now: float) -> None:
        """Remember items whose rows may be left, and seem to be still leased to us."""
        self._ended.update(((queue, item_id), now) for item_id in ids)
        if len(self._ended) > MANY:
            self._ended = {key: at for key, at in self._ended.items() if at > now - REMEMBERED}

    def due(self, now: float, *, in_haste: bool) -> frozenset[int]:
        """What control may be asked now. `in_haste`: nothing is claimed any more; no search waits."""
        if in_haste:
            for lost in self.settlements.lost_claims():
                lost.not_before = min(lost.not_before, now)
        return frozenset(ref for ref, _ in self.settlements.due(now))

    def orders(
        self, control: int, now: float, claiming: Sequence[Assignment], refs: Collection[int]
    ) -> list[Settle | Search]:
        """What this control is to do now: what is due and in `refs`. All claimed since is known.

        `claiming`: the assignments of those who have sent a claim that is not answered yet.
        """
        orders: list[Settle | Search] = []
        for ref, entry in self.settlements.due(now):
            if ref not in refs:
                continue
            if isinstance(entry, Settlement):
                self._leave_what_was_claimed_again(ref, entry)
                if not entry.ids:
                    continue
                orders.append(Settle(ref, entry.queue, entry.claim.leases, entry.part))
            elif _might_take(claiming, entry):
                entry.not_before = now + SEARCH_PAUSE  # what that one takes is not named yet
                continue
            else:
                named = sorted(self._named(entry.queue.name))
                sole = self.settings.sole_agent
                orders.append(Search(ref, entry.queue, entry.since, entry.until, named, sole))
            entry.asked = control
        return orders

    def _leave_what_was_claimed_again(self, ref: int, entry: Settlement) -> None:
        """Drop items that we have claimed again since: they are not the old claim's any more."""
        taken = [each for each in entry.ids if self._ledger.claimed_since(entry.claim, each)]
        if taken:
            self._ledger.settled(entry.claim.id, taken)
            entry.part = entry.part.without(taken)
            if not entry.ids:
                self.settlements.close(ref)

    def _named(self, queue: str) -> set[str]:
        """The ids of this queue that were named in recent answers."""
        open_ones = (c.entries for c in self._ledger.claims.values() if c.queue.name == queue)
        return {each for entries in open_ones for each in entries} | {
            item_id for name, item_id in self._ended if name == queue
        }

    def settled(self, report: Settled, now: float) -> None:
        """End these items as control reports; those that may still run somewhere are watched."""
        entry = self.settlements.pending.get(report.ref)
        if entry is None:
            return
        queue = entry.queue.name
        unknown = [item_id for item_id, fate, _ in report.fates if fate == Fate.UNKNOWN.value]
        over = [item_id for item_id, fate, _ in report.fates if fate != Fate.UNKNOWN.value]
        for item_id, fate, text in report.fates:
            if fate != Fate.UNKNOWN.value or not entry.attempts:
                self._log.event(
                    "debug" if entry.quiet else "warning", "settled", queue=queue, item=item_id, fate=fate,
                    begun=_begun(entry, item_id), cause=entry.cause, detail=text or None,
                )  # fmt: skip
        if isinstance(entry, Settlement):
            self._ledger.settled(entry.claim.id, over)
            self._count_crashes(entry, report, queue)
        self.remember(queue, over, now)
        self._ledger.changed = True
        if unknown:
            self.settlements.watch(report.ref, unknown, now, self._rng)
        else:
            self.settlements.close(report.ref)

    def _count_crashes(self, entry: Settlement, report: Settled, queue: str) -> None:
        """Count the workers that each item brought down, and log those not called again (rule 15)."""
        fates = {item_id: fate for item_id, fate, _ in report.fates}
        part, may_be = entry.part, suspects(entry.part, entry.queue)
        spared = next((each for each in may_be if fates.get(each) == Fate.GIVEN_BACK.value), None)
        if part.signalled and spared is not None and not part.stopped_by_us:
            self.spared_deaths.count(queue, spared)  # the first that is left was begun (rule 4)
        for item_id, fate in fates.items():
            if fate in (*ENDED, Fate.TRY_COUNTED.value):
                self.spared_deaths.forget(queue, [item_id])
            if fate in ENDED:
                self.crash_counts.forget(queue, [item_id])
            elif item_id in may_be and _brought_down(fate, part):
                crashes = self.crash_counts.count(queue, item_id)
                if item_id in part.poisoned:
                    self.crash_counts.forget(queue, [item_id])
                    self._log.event(
                        "critical", "poisoned", queue=queue, item=item_id, crashes=crashes,
                        cause=entry.cause, what=POISONED,
                    )  # fmt: skip

    def failed(self, report: SettleFailed, now: float) -> None:
        """Have control asked again later; if that is of no use, the rows stay leased."""
        entry = self.settlements.failed(report.ref, now, self._rng)
        if entry is None:
            return
        fields = {"queue": entry.queue.name, "items": ",".join(entry.ids) or None, "reason": report.message}
        if not report.final:
            self._log.event("warning" if entry.attempts == 1 else "debug", "settle_failed", **fields)
            return
        self.settlements.close(report.ref)
        if isinstance(entry, Settlement):
            self._ledger.settled(entry.claim.id, entry.ids)
        self._ledger.changed = True
        self._log.event(
            "error", "left_leased", **fields, lease_seconds=entry.queue.lease_time, cause=entry.cause
        )

    def log_open(self) -> None:
        """Log what could not be settled in time: the next start will settle it."""
        what = "the next start settles it, if that comes before its lease ends"
        for claim in self._ledger.claims.values():
            self._log.event(
                "error", "claim_left_open", queue=claim.queue.name, items=",".join(claim.entries),
                lease_seconds=claim.queue.lease_time, what=what,
            )  # fmt: skip
        for lost in self.settlements.lost_claims():
            self._log.event("error", "claim_left_open", queue=lost.queue.name, reason=lost.cause, what=what)

    def save(self, checkpoint: Checkpoint) -> None:
        """Save what only we know, if that has changed, before any child is told to go on."""
        changed = self._ledger.changed or self.crash_counts.changed or checkpoint.has_spent
        if changed and checkpoint.save(self._snapshot()):
            self._ledger.changed = self.crash_counts.changed = False

    def _snapshot(self) -> Snapshot:
        claims = self._ledger.claims.values()
        return Snapshot(
            claims=[
                SavedClaim(claim.id, claim.queue, _leases(claim), items)
                for claim in claims
                if (items := _only_ours(claim))
            ],
            renewed=[
                (c.id, _leases(c)) for c in claims if len(c.leases) > 1 or c.renewing is not None or c.shown
            ],
            settling=[(entry.claim.id, entry.part) for entry in self.settlements.of_claims()],
            lost=[
                LostIntent(lost.queue, lost.since, lost.until, lost.cause)
                for lost in self.settlements.lost_claims()
            ],
            crashes=self.crash_counts.values(),
        )


def _begun(entry: Settlement | LostClaim, item_id: str) -> str | None:
    """What is known of the beginning of an item that was sent, for the log (rule 4)."""
    if not isinstance(entry, Settlement) or item_id not in entry.part.sent:
        return None
    if entry.part.begun is None:
        return "unknown"
    return "noted" if item_id in entry.part.begun else "no"


def _brought_down(fate: str, part: Unsettled) -> bool:
    """Whether an item with this fate is to blame for the end of its pipe."""
    if part.stopped_by_us or part.blameless:
        return False
    before_it_began = part.begun == [] and part.by_itself
    return fate == Fate.TRY_COUNTED.value or (before_it_began and fate == Fate.GIVEN_BACK.value)


def _might_take(claiming: Iterable[Assignment], lost: LostClaim) -> bool:
    """Whether a claim under way might take rows that look like the lost claim's."""
    last = lost.until + SEARCH_DELAY
    return any(work.claiming == lost.queue.name and work.claiming_at <= last for work in claiming)


def _only_ours(claim: Claim) -> list[Item]:
    """The items of a claim that no child's journal names any more, or perhaps not yet."""
    return [e.item for e in claim.entries.values() if e.given or e.place is not Place.AT_WORKER]


def _leases(claim: Claim) -> list[Lease]:
    under_way = [] if claim.renewing is None else [Lease(inf, claim.renewing)]
    return [*claim.leases, *under_way]
