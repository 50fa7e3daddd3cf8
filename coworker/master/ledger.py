"""Every claim that is known to have brought items and has not ended. Each item ends exactly once (rule 13).

An item is AT_WORKER until that has run it, HANDED while the master seeks a worker of its identity,
or SETTLING while control finds out what became of it. This is only a book: nothing here waits or sends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum

from coworker.errors import IllegalMoveError
from coworker.model import Item, Lease, QueueInfo


class Place(str, Enum):
    """Where an open item is."""

    AT_WORKER = "at a worker"
    HANDED = "handed"
    SETTLING = "settling"


@dataclass(slots=True)
class Entry:
    """One open item."""

    item: Item
    place: Place
    worker: int  # the id of the worker that has it, or had it last
    begun: bool = False  # runItems with it was sent, as far as we were told
    given: bool = False  # another worker made the claim


@dataclass(slots=True)
class Claim:
    """The open items of one claim, in batch order.

    Its rows may show any of the `leases`: the first, or one of its renewals. `lease_from` is when the lease
    that they show for certain began at the earliest, `renewing` when a renewal was asked for that is not
    answered yet (both in monotonic seconds).
    """

    id: str
    queue: QueueInfo
    leases: list[Lease]
    lease_from: float
    renewing: float | None = None
    shown: bool = False  # control has read the release_time, which no journal has
    entries: dict[str, Entry] = field(default_factory=dict)

    @property
    def claimed_at(self) -> float:
        """When the claim was answered (monotonic seconds)."""
        return self.leases[0].at

    def at_worker(self, worker: int) -> list[Entry]:
        return [e for e in self.entries.values() if e.place is Place.AT_WORKER and e.worker == worker]


class Ledger:
    """All open claims. Raises IllegalMoveError when an item is moved where it cannot go."""

    def __init__(self) -> None:
        self.claims: dict[str, Claim] = {}
        self.changed = False  # something is now, or no longer, only the master's to remember

    def open(
        self,
        claim_id: str,
        queue: QueueInfo,
        worker: int,
        items: Iterable[Item],
        begun: Collection[str],
        leases: list[Lease],
    ) -> Claim:
        """Enter a claim of this worker; it is running the items with the ids `begun` already."""
        if claim_id in self.claims:
            raise IllegalMoveError(f"claim {claim_id} is open already")
        claim = Claim(claim_id, queue, leases, leases[-1].at - leases[-1].seconds)
        for item in items:
            claim.entries[item.id] = Entry(item, Place.AT_WORKER, worker, begun=item.id in begun)
        self.claims[claim_id] = claim
        return claim

    def hand_off(self, claim_id: str, ids: Iterable[str], worker: int) -> list[Item]:
        """Have these wait for another worker, since this one cannot run them. Returns them."""
        return [entry.item for entry in self._move(claim_id, ids, Place.AT_WORKER, Place.HANDED, worker)]

    def give(self, claim_id: str, ids: Iterable[str], worker: int) -> None:
        """Give handed items to this worker."""
        for entry in self._move(claim_id, ids, Place.HANDED, Place.AT_WORKER, None):
            entry.worker = worker
            entry.given = True

    def begin(self, claim_id: str, ids: Iterable[str], worker: int, *, begun: bool = True) -> Claim:
        """Note that the worker is sending these to its pipe; or, unless `begun`, that not a byte went out."""
        for entry in self._move(claim_id, ids, Place.AT_WORKER, Place.AT_WORKER, worker):
            entry.begun = begun
        return self.claims[claim_id]

    def renew(self, claim: Claim, asked_at: float) -> None:
        """Note that a renewal of the claim's lease is about to be asked for."""
        claim.renewing = asked_at
        self.changed = True

    def renewed(self, claim: Claim, lease: Lease, *, certain: bool) -> None:
        """Note the lease that the rows show now; or, unless `certain`, that some of them may."""
        claim.renewing = None
        claim.leases = [claim.leases[0], *claim.leases[1:][-3:], lease]
        if certain:
            claim.lease_from = lease.at - lease.seconds
        self.changed = True

    def shown(self, claim: Claim, release: str) -> None:
        """Note the release_time that the rows of the claim show, so that no clock matters any more."""
        claim.leases[-1] = claim.leases[-1]._replace(release=release)
        claim.shown = True
        self.changed = True

    def claimed_since(self, claim: Claim, item_id: str) -> bool:
        """Whether a later claim of ours has this item, so that its lease is no longer this claim's."""
        return any(
            other.claimed_at > claim.claimed_at
            and other.queue.name == claim.queue.name
            and item_id in other.entries
            for other in self.claims.values()
        )

    def end(self, claim_id: str, ids: Iterable[str], worker: int) -> int:
        """End items that the worker reported outcomes for. Returns how many; of an unknown claim, none."""
        claim = self.claims.get(claim_id)
        if claim is None:
            return 0
        ended = 0
        for item_id in ids:
            entry = claim.entries.get(item_id)
            if entry is not None and entry.place is Place.AT_WORKER and entry.worker == worker:
                del claim.entries[item_id]
                self.changed = self.changed or entry.given
                ended += 1
        self._drop_if_empty(claim)
        return ended

    def settle(self, claim_id: str, ids: Iterable[str], place: Place) -> None:
        """Note that control is to find out about these items, which were in `place`."""
        self._move(claim_id, ids, place, Place.SETTLING, None)

    def settled(self, claim_id: str, ids: Iterable[str]) -> None:
        """End the items that control has settled."""
        claim = self.claims.get(claim_id)
        if claim is not None:
            for item_id in ids:
                entry = claim.entries.get(item_id)
                if entry is None or entry.place is not Place.SETTLING:
                    raise IllegalMoveError(f"item {item_id} of claim {claim_id} was not being settled")
                del claim.entries[item_id]
            self.changed = True
            self._drop_if_empty(claim)

    def at_worker(self, worker: int) -> list[tuple[Claim, list[Entry]]]:
        """What the worker has in hand, claim by claim in batch order."""
        return [(claim, its) for claim in self.claims.values() if (its := claim.at_worker(worker))]

    def _move(
        self, claim_id: str, ids: Iterable[str], source: Place, target: Place, worker: int | None
    ) -> list[Entry]:
        claim = self.claims.get(claim_id)
        moved = []
        for item_id in ids:
            entry = claim.entries.get(item_id) if claim else None
            if entry is None or entry.place is not source or worker not in (None, entry.worker):
                raise IllegalMoveError(f"item {item_id} of claim {claim_id} is not {source.value}")
            entry.place = target
            moved.append(entry)
        self.changed = self.changed or source is not target
        return moved

    def _drop_if_empty(self, claim: Claim) -> None:
        if not claim.entries:
            del self.claims[claim.id]
