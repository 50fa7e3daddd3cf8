"""Items whose claimer may not run them: handed off for a worker of their identity, or refused and given back.

They wait in groups of one claim and one identity. What no worker took in time goes back to its queue; what no
pipe of the site could ever run goes back for a minute, with an alert (identity rule 7).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import inf

from coworker.config.settings import SiteSettings
from coworker.log import EventLog
from coworker.master.ledger import Claim, Ledger, Place
from coworker.master.queue_states import QueueStates
from coworker.master.roster import Roster
from coworker.master.settler import Settler
from coworker.model import Identity, Item, Unsettled, WorkerRecord
from coworker.policy import matching, timeouts

HANDED_PATIENCE = 2.0  # seconds that handed items wait for a worker of their identity before they go back
CROWDED_DELAY = 10  # seconds until they may be claimed again if their contact is at its limit of workers
REFUSED_DELAY = 60  # seconds until they may be claimed again if no pipe can run them


@dataclass(slots=True)
class HandedGroup:
    """Handed items of one claim and one identity; they have waited since `since` (monotonic seconds)."""

    claim: Claim
    identity: Identity
    items: list[Item]
    since: float

    @property
    def ids(self) -> list[str]:
        return [item.id for item in self.items]


@dataclass(slots=True)
class Handoff:
    """The handed items of one site. Each reason of a refusal is logged as an error once, until a reload."""

    settings: SiteSettings
    roster: Roster
    ledger: Ledger
    queues: QueueStates
    settler: Settler
    log: EventLog
    groups: list[HandedGroup] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)

    def reconfigure(self, settings: SiteSettings) -> None:
        """Take the settings of a reload, and log each reason as an error anew."""
        self.settings = settings
        self._told.clear()

    def hand_off(self, worker: int, claim_id: str, ids: Sequence[str], now: float) -> None:
        """Take items that the worker hands off: they wait, in groups of one identity."""
        groups: dict[Identity, list[Item]] = {}
        for item in self.ledger.hand_off(claim_id, ids, worker):
            groups.setdefault(item.identity, []).append(item)
        claim = self.ledger.claims[claim_id]
        for identity, items in groups.items():
            if self._has_pipe_for(identity):
                self.groups.append(HandedGroup(claim, identity, items, now))
                self.queues.hand(claim.queue, len(items), identity)
            else:
                reason = f"no pipe of this site serves domain {identity.domain}: see sites.NAME.domains"
                self.refuse(claim_id, [item.id for item in items], reason, Place.HANDED)
                self.queues.hand(claim.queue, 0, None)

    def _has_pipe_for(self, identity: Identity) -> bool:
        """Whether a pipe of the site serves the domain of this identity, as far as is known."""
        if matching.serves_domain(self.roster.home_domain, identity):
            return True
        return any(domain.number == identity.domain for domain in self.settings.domains)

    def place(
        self, free: list[WorkerRecord], now: float, crowded: Collection[Identity]
    ) -> tuple[WorkerRecord, HandedGroup] | None:
        """The first group for which one of the `free` workers fits, and that worker; None if there is none.

        Groups that have waited too long are given back in passing. `crowded`: see matching.
        """
        for group in list(self.groups):
            full = self.queues.full(group.claim.queue.name)
            worker = None if full else matching.place(group.identity, free, crowded)
            if worker is not None:
                self.queues.join(group.claim.queue)
                self._forget(group)
                self.ledger.give(group.claim.id, group.ids, worker.id)
                return worker, group
            if now >= self._give_back_at(group):
                crowd = group.identity in crowded
                self.give_back(group, delay=CROWDED_DELAY if crowd else 0)
        return None

    def give_back(self, group: HandedGroup, *, delay: int = 0) -> None:
        """Give back a group that no worker could take: it was never begun."""
        self._forget(group)
        part = Unsettled([], group.ids, "no worker for it", delay=delay)
        self.settler.settle(group.claim, Place.HANDED, part)

    def give_back_all(self) -> None:
        """Give back every group: nobody will take anything any more."""
        for group in list(self.groups):
            self.give_back(group)

    def refuse(self, claim_id: str, ids: Sequence[str], reason: str, place: Place = Place.AT_WORKER) -> None:
        """Give back items that no pipe can run as it is set up: they must not be deleted for our mistake."""
        claim = self.ledger.claims[claim_id]
        level = "debug" if reason in self._told else "error"
        self._told.add(reason)
        self.log.event(level, "items_refused", queue=claim.queue.name, items=",".join(ids), reason=reason)
        self.settler.settle(claim, place, Unsettled([], list(ids), reason, delay=REFUSED_DELAY))

    def next_at(self) -> float:
        """When the next group has waited long enough."""
        return min(map(self._give_back_at, self.groups), default=inf)

    def _give_back_at(self, group: HandedGroup) -> float:
        """When a group goes back. If it cannot, it waits for its worker while enough of its lease is left."""
        if self.roster.gives_back:
            return group.since + HANDED_PATIENCE
        usable = timeouts.usable(group.claim.queue.lease_time)
        return group.claim.claimed_at + timeouts.PLACING_SHARE * usable

    def _forget(self, group: HandedGroup) -> None:
        self.groups.remove(group)
        self.queues.unhand(group.claim.queue.name, len(group.items))
