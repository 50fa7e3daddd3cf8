"""The master's list of claims that control must end: what to ask, and when to ask again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from random import Random

from coworker.ipc.messages import Search, Settle
from coworker.master.ledger import Claim
from coworker.model import QueueInfo
from coworker.policy.backoff import delay

RETRY_BASE, RETRY_CAP = 0.5, 5.0  # seconds between tries when the site answers with an error
ENOUGH_TRIES = 3  # after so many nothing waits for a settlement any more
WATCH_BASE, WATCH_CAP = 1.0, 30.0  # seconds between looks at what may still run where we cannot see it


@dataclass(slots=True, kw_only=True)
class Pending:
    """What all have in common. `asked`: the control that was asked and has not answered."""

    cause: str  # for the log: why it must be settled
    tries: int = 0
    not_before: float = 0.0
    asked: int | None = None
    recovered: bool = False  # a former daemon left it

    @property
    def ids(self) -> list[str]:
        return []


@dataclass(slots=True)
class Settlement(Pending):
    """Part of one claim. The fields are those of messages.Settle."""

    claim: Claim
    sent: list[str]
    unsent: list[str]
    stopped_by_us: bool = False
    delay: int = 0
    poisoned: list[str] = field(default_factory=list)
    blameless: bool = False  # whatever ended its pipe, it was not the task
    out_of_sight: bool = False

    @property
    def ids(self) -> list[str]:
        return [*self.sent, *self.unsent]


@dataclass(slots=True)
class LostClaim(Pending):
    """A claim whose answer never came. The fields are those of messages.Search."""

    queue: QueueInfo
    since: float
    until: float


class Settlements:
    """By reference number, in the order they came."""

    def __init__(self) -> None:
        self.pending: dict[int, Settlement | LostClaim] = {}
        self._refs = count(1)

    def add(self, settlement: Settlement | LostClaim) -> None:
        self.pending[next(self._refs)] = settlement

    def of_claims(self) -> list[Settlement]:
        return [entry for entry in self.pending.values() if isinstance(entry, Settlement)]

    def lost_claims(self) -> list[LostClaim]:
        return [entry for entry in self.pending.values() if isinstance(entry, LostClaim)]

    def recovering(self) -> bool:
        """Whether what a former daemon left has still to be settled, unless the site refuses that."""
        return any(entry.recovered and entry.tries < ENOUGH_TRIES for entry in self.pending.values())

    def due(self, now: float) -> list[tuple[int, Settlement | LostClaim]]:
        """Those that may be asked now. Each is sent once to one control, until it answers or is gone."""
        pending = self.pending.items()
        return [(ref, entry) for ref, entry in pending if entry.asked is None and now >= entry.not_before]

    def next_at(self) -> float | None:
        """When the next one may be asked again."""
        return min((e.not_before for e in self.pending.values() if e.asked is None), default=None)

    def control_gone(self, control: int) -> None:
        """What it was asked must be asked again. A settlement can be repeated: it reads before it writes."""
        for entry in self.pending.values():
            if entry.asked == control:
                entry.asked = None

    def failed(self, ref: int, now: float, rng: Random) -> Settlement | LostClaim | None:
        """The site answered with an error: later again."""
        entry = self.pending.get(ref)
        if entry is not None:
            entry.tries += 1
            entry.asked = None
            entry.not_before = now + delay(entry.tries, rng, base=RETRY_BASE, cap=RETRY_CAP)
        return entry

    def watch(self, ref: int, ids: list[str], now: float, rng: Random) -> None:
        """Nobody can say yet what became of these: later again, and of these only."""
        entry = self.pending[ref]
        if isinstance(entry, Settlement):
            entry.sent, entry.unsent = ids, []
        entry.tries += 1
        entry.asked = None
        entry.not_before = now + delay(entry.tries, rng, base=WATCH_BASE, cap=WATCH_CAP)

    def close(self, ref: int) -> Settlement | LostClaim | None:
        """It is over."""
        return self.pending.pop(ref, None)


def settle_order(ref: int, entry: Settlement) -> Settle:
    """What control is to do."""
    queue = entry.claim.queue
    return Settle(
        ref=ref,
        queue=queue.name,
        sent=entry.sent,
        unsent=entry.unsent,
        stopped_by_us=entry.stopped_by_us,
        in_order=queue.runner == "task",
        leases=[list(lease) for lease in entry.claim.leases],
        lease_time=queue.lease_time,
        retry_interval=queue.retry_interval,
        retry_limit=queue.retry_limit,
        delay=entry.delay,
        poisoned=entry.poisoned,
        out_of_sight=entry.out_of_sight,
    )


def search_order(ref: int, entry: LostClaim, named: Iterable[str], *, sole: bool) -> Search:
    """What control is to do about a claim without an answer."""
    queue = entry.queue
    return Search(ref, queue.name, entry.since, entry.until, queue.lease_time, sorted(named), sole)
