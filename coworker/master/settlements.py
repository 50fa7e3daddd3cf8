"""The settlements that are pending: which control was asked, and when to ask again."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from math import inf
from random import Random

from coworker.master.ledger import Claim
from coworker.model import QueueInfo, Unsettled
from coworker.policy.backoff import delay

RETRY_BASE, RETRY_CAP = 0.5, 5.0  # seconds between attempts when the site answers with an error
ENOUGH_TIMES = 3  # after so many nothing waits for a settlement any more
WATCH_BASE, WATCH_CAP = 1.0, 30.0  # seconds between checks of what may still run where we cannot see it


@dataclass(slots=True, kw_only=True)
class Pending:
    """Something that control must end. `asked`: the control that was asked and has not answered."""

    attempts: int = 0
    not_before: float = 0.0  # monotonic seconds
    asked: int | None = None
    recovered: bool = False  # a former daemon left it
    quiet: bool = False  # its end is of no interest to anybody


@dataclass(slots=True)
class Settlement(Pending):
    """A part of one claim that must be settled."""

    claim: Claim
    part: Unsettled

    @property
    def queue(self) -> QueueInfo:
        return self.claim.queue

    @property
    def cause(self) -> str:
        return self.part.cause

    @property
    def ids(self) -> list[str]:
        return self.part.ids


@dataclass(slots=True)
class LostClaim(Pending):
    """A claim whose answer never came: sent at `since`, and nothing of it ran any more at `until`."""

    queue: QueueInfo
    since: float
    until: float
    cause: str

    @property
    def ids(self) -> list[str]:
        return []


class Settlements:
    """All that is to be settled, by reference number, in the order in which it came."""

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
        """Whether something that a former daemon left must still be settled, unless the site refuses that."""
        return any(entry.recovered and entry.attempts < ENOUGH_TIMES for entry in self.pending.values())

    def due(self, now: float) -> list[tuple[int, Settlement | LostClaim]]:
        """Those that may be asked now. Each is sent once to one control, until that answers or is gone."""
        pending = self.pending.items()
        return [(ref, entry) for ref, entry in pending if entry.asked is None and now >= entry.not_before]

    def next_at(self) -> float:
        """When the next one may be asked again."""
        return min((e.not_before for e in self.pending.values() if e.asked is None), default=inf)

    def control_gone(self, control: int) -> None:
        """Let another control be asked for the rest: settling reads before it writes, and can be repeated."""
        for entry in self.pending.values():
            if entry.asked == control:
                entry.asked = None

    def failed(self, ref: int, now: float, rng: Random) -> Settlement | LostClaim | None:
        """Note that the site answered with an error; control is asked again later."""
        entry = self.pending.get(ref)
        if entry is not None:
            entry.attempts += 1
            entry.asked = None
            entry.not_before = now + delay(entry.attempts, rng, base=RETRY_BASE, cap=RETRY_CAP)
        return entry

    def watch(self, ref: int, ids: list[str], now: float, rng: Random) -> None:
        """Note that nobody can tell yet what became of these: control is asked again, of these only."""
        entry = self.pending[ref]
        if isinstance(entry, Settlement):
            entry.part = entry.part._replace(sent=ids, unsent=[])
        entry.attempts += 1
        entry.asked = None
        entry.not_before = now + delay(entry.attempts, rng, base=WATCH_BASE, cap=WATCH_CAP)

    def close(self, ref: int) -> Settlement | LostClaim | None:
        """Drop what is settled, or cannot be."""
        return self.pending.pop(ref, None)
