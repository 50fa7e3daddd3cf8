"""The master's list of claims that control must end: what to ask, and when to ask again."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from random import Random

from coworker.policy.backoff import delay
from coworker.tasks.ledger import Claim
from coworker.wire.messages import Settle

RETRY_BASE, RETRY_CAP = 0.5, 5.0  # seconds between tries when the site answers with an error


@dataclass(slots=True)
class Settlement:
    """Part of one claim. `asked`: the control that was asked and has not answered."""

    claim: Claim
    sent: list[str]
    unsent: list[str]
    cause: str  # for the log: why it must be settled
    ours: bool = False
    delay: int = 0
    tries: int = 0
    not_before: float = 0.0
    asked: int | None = None

    @property
    def ids(self) -> list[str]:
        return [*self.sent, *self.unsent]


class Settlements:
    """By reference number, in the order they came."""

    def __init__(self) -> None:
        self.pending: dict[int, Settlement] = {}
        self._refs = count(1)

    def add(self, settlement: Settlement) -> None:
        self.pending[next(self._refs)] = settlement

    def orders(self, control: int, now: float) -> list[Settle]:
        """What to send to this control now. Each is sent once to one control, until it answers or is gone."""
        orders = []
        for ref, entry in self.pending.items():
            if entry.asked is None and now >= entry.not_before:
                entry.asked = control
                orders.append(_order(ref, entry))
        return orders

    def next_at(self) -> float | None:
        """When the next one may be asked again."""
        return min((e.not_before for e in self.pending.values() if e.asked is None), default=None)

    def control_gone(self, control: int) -> None:
        """What it was asked must be asked again. A settlement can be repeated: it reads before it writes."""
        for entry in self.pending.values():
            if entry.asked == control:
                entry.asked = None

    def failed(self, ref: int, now: float, rng: Random) -> Settlement | None:
        """The site answered with an error: later again."""
        entry = self.pending.get(ref)
        if entry is not None:
            entry.tries += 1
            entry.asked = None
            entry.not_before = now + delay(entry.tries, rng, base=RETRY_BASE, cap=RETRY_CAP)
        return entry

    def close(self, ref: int) -> Settlement | None:
        """It is over."""
        return self.pending.pop(ref, None)


def _order(ref: int, entry: Settlement) -> Settle:
    queue = entry.claim.queue
    return Settle(
        ref=ref,
        queue=queue.name,
        sent=entry.sent,
        unsent=entry.unsent,
        ours=entry.ours,
        in_order=queue.runner == "task",
        claimed_at=entry.claim.claimed_at,
        claim_seconds=entry.claim.seconds,
        lease_time=queue.lease_time,
        retry_interval=queue.retry_interval,
        delay=entry.delay,
    )
