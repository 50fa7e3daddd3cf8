"""What to do with a child that is overdue: message, TERM, KILL (design, section 3)."""

from __future__ import annotations

from enum import Enum


class Step(str, Enum):
    """The rungs of the ladder for a child."""

    MESSAGE = "message"
    TERM = "term"
    KILL = "kill"


LADDER = (Step.MESSAGE, Step.TERM, Step.KILL)
# Seconds to wait after each rung. A child that got the message ends its pipe first, which takes up to 2 s.
PATIENCE = {Step.MESSAGE: 4.0, Step.TERM: 1.0, Step.KILL: 1.0}


def next_step(rung: int) -> Step:
    """The step to take on rung 0, 1, 2, …; the last one is repeated."""
    return LADDER[min(rung, len(LADDER) - 1)]
