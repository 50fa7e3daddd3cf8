"""How much of a lease may be used, and when to renew it. What is run under it must end within it."""

from __future__ import annotations

from math import inf

from coworker.policy import escalation
from coworker.policy.settlement import CLOCK_SLACK, LEASE_MARGIN

LEASE_SHARE = 0.9  # an order ends within this share of its lease (design, section 4)
LADDER_SECONDS = sum(
    escalation.PATIENCE.values()
)  # from the first rung for a child until its pipe is surely killed
PLACING_SHARE = 0.5  # of a lease after which nobody begins handed items any more
RENEWAL_SHARE = 0.5  # of a lease after which it is renewed
RENEWAL_MARGIN = LEASE_MARGIN + CLOCK_SLACK + 3  # seconds that must be left: the answer takes some
LOOKS_PER_TASK = 4  # how often within a task_timeout control looks how far a batch is
SHORTEST_LOOK = 0.2  # seconds between such looks at least


def usable(lease_time: int) -> float:
    """Seconds of a lease after which its order must end: what is left must suffice for the whole ladder.

    A lease counts whole seconds of the site's clock: it may be up to one shorter.
    """
    lease = max(1, lease_time - 1)
    return max(lease / 2, min(LEASE_SHARE * lease, lease - LADDER_SECONDS))


def renew_after(lease_time: int) -> float:
    """Seconds of a lease after which it is renewed; inf for one that is too short for that (rule 6)."""
    latest = lease_time - RENEWAL_MARGIN
    return min(RENEWAL_SHARE * lease_time, latest) if latest >= 1 else inf


def look_after(task_timeout: float) -> float:
    """Seconds after which control looks how far a batch is."""
    return max(SHORTEST_LOOK, task_timeout / LOOKS_PER_TASK)
