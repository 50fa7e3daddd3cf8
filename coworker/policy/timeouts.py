"""How long anything may take: the ladder for a child that is overdue, and how much of a lease may be used."""

from __future__ import annotations

from enum import Enum
from math import inf

from coworker.policy.settlement import CLOCK_SLACK, LEASE_MARGIN


class Step(str, Enum):
    """The rungs of the ladder for a child."""

    MESSAGE = "message"
    TERM = "term"
    KILL = "kill"


LADDER = (Step.MESSAGE, Step.TERM, Step.KILL)
# Seconds to wait after each rung. A child that got the message ends its pipe first, mostly within 2 s.
PATIENCE = {Step.MESSAGE: 4.0, Step.TERM: 1.0, Step.KILL: 1.0}


def next_step(rung: int) -> Step:
    """The step to take on rung 0, 1, 2, …; the last one is repeated."""
    return LADDER[min(rung, len(LADDER) - 1)]


LEASE_SHARE = 0.9  # an order ends within this share of its lease
LADDER_SECONDS = sum(PATIENCE.values())  # from the first rung for a child until its pipe is surely killed
PLACING_SHARE = 0.5  # of the usable lease, after which nobody begins handed items any more
RENEWAL_SHARE = 0.5  # of a lease after which it is renewed
RENEWAL_MARGIN = LEASE_MARGIN + CLOCK_SLACK + 3  # seconds that must be left: the answer takes some
SHOWN_AFTER = 1.0  # seconds after which control reads the release_time of a claim that does not say it
INSPECTIONS_PER_TASK = 4  # how often within a task_timeout control inspects how far a batch is
SHORTEST_INSPECTION_PAUSE = 0.2  # seconds between two inspections of a batch, at least


def usable(lease_time: int) -> float:
    """The seconds of a lease after which its order must end: what is left must suffice for the whole ladder.

    A lease counts whole seconds of the site's clock: it may be up to one second shorter.
    """
    lease = max(1, lease_time - 1)
    return max(lease / 2, min(LEASE_SHARE * lease, lease - LADDER_SECONDS))


def renew_after(lease_time: int) -> float:
    """The seconds of a lease after which it is renewed; inf if it is too short for that (rule 14)."""
    latest = lease_time - RENEWAL_MARGIN
    return min(RENEWAL_SHARE * lease_time, latest) if latest >= 1 else inf


def inspect_after(task_timeout: float) -> float:
    """The seconds after which control inspects how far a batch is."""
    return max(SHORTEST_INSPECTION_PAUSE, task_timeout / INSPECTIONS_PER_TASK)
