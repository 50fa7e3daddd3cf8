"""How much of a lease may be used. Nothing extends one, so what is run under it must end within it."""

from __future__ import annotations

from coworker.policy import escalation

LEASE_SHARE = 0.9  # an order ends within this share of its lease (design, section 4)
LADDER_SECONDS = sum(
    escalation.PATIENCE.values()
)  # from the first rung for a child until its pipe is surely killed
PLACING_SHARE = 0.5  # of a lease after which nobody begins handed items any more


def usable(lease_time: int) -> float:
    """Seconds of a lease after which its order must end: what is left must suffice for the whole ladder.

    A lease counts whole seconds of the site's clock: it may be up to one shorter.
    """
    lease = max(1, lease_time - 1)
    return max(lease / 2, min(LEASE_SHARE * lease, lease - LADDER_SECONDS))
