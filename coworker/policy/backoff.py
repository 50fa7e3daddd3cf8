"""How long to wait after something failed, and when a site counts as broken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from random import Random

BREAKER_THRESHOLD = 3  # boots in a row that failed (process rule 7)
PROBE_CAP = 5.0  # seconds between probes at most
QUEUE_BASE, QUEUE_CAP = 1.0, 300.0  # seconds, for a queue whose claims fail (rule 8)


def delay(failures: int, rng: Random, *, base: float, cap: float) -> float:
    """Seconds to wait after `failures` (1, 2, …) in a row: doubled each time, at most `cap`, less jitter.

    It is for boots, and also for looks, queues and settlements.
    """
    full = min(cap, base * 2.0 ** min(failures - 1, 30))
    return full * (1.0 - 0.25 * rng.random())  # so the cap stays the longest wait


@dataclass(frozen=True, slots=True)
class Breaker:
    """The breaker of one site. Times are monotonic seconds.

    Closed: children boot, after the backoff. Open, after BREAKER_THRESHOLD failures in a row: nothing is
    claimed, and one probe at a time boots. Boots that were under way together count as one failure.
    """

    failures: int = 0
    open_since: float | None = None
    next_boot_at: float = 0.0
    reason: str = ""
    failed_at: float = -inf

    @property
    def is_open(self) -> bool:
        return self.open_since is not None

    def failed(self, now: float, reason: str, rng: Random, *, started: float) -> Breaker:
        """The breaker after a boot that was `started` then has failed now."""
        if started < self.failed_at:
            return replace(self, reason=reason)
        failures = self.failures + 1
        since = self.open_since
        if since is None and failures >= BREAKER_THRESHOLD:
            since = now
        return Breaker(failures, since, now + delay(failures, rng, base=0.5, cap=PROBE_CAP), reason, now)

    def may_boot(self, now: float, booting: int) -> bool:
        """Whether one more child of the site may boot now. `booting`: how many are booting already."""
        return now >= self.next_boot_at and not (self.failures and booting)
