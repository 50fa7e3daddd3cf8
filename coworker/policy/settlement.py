"""What became of a claim whose answer never came: rows seen + claim → what to do (design, section 4).

Fates of an item:
 finished  the row is gone: the task ended, with an outcome nobody heard
 left      CiviCRM settled it already, or somebody else has it: not ours any more
 returned  never begun (or ended by us at stop): given back with its try restored
 released  begun: the try counts, and CiviCRM's own retry limit and error policy decide at the next claim
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

LEASE_MARGIN = 10  # seconds of lease that must be left for release_time to be touched (rule 6)
CLOCK_SLACK = 2  # seconds by which the end of our lease may be misjudged


class Fate(str, Enum):
    FINISHED = "finished"
    LEFT = "left"
    RETURNED = "returned"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class RowSeen:
    """A row as the site shows it now. `release_in`: seconds until its release_time, None for NULL."""

    id: str
    run_count: int
    release_in: float | None


@dataclass(frozen=True, slots=True)
class OpenClaim:
    """Ids in batch order. Times in seconds.

    `claimed_ago`: since the claim was answered. `claim_seconds`: how long that took (it waits for a table
    lock); the lease began in between.
    """

    sent: list[str]
    unsent: list[str]
    claimed_ago: float
    lease_time: int
    retry_interval: int
    claim_seconds: float = 0.0
    ours: bool = False  # we ended the process, at stop
    in_order: bool = True  # runner `task` runs in order; of another runner the whole batch counts as begun
    delay: int = 0  # seconds until what was never begun may be claimed again


@dataclass(frozen=True, slots=True)
class Verdict:
    """`run_count` and `release` (seconds from now, None for NULL) are what to write; `write` says which."""

    id: str
    fate: Fate
    write: tuple[str, ...] = ()
    run_count: int = 0
    release: int | None = None


def under_our_lease(row: RowSeen, claim: OpenClaim) -> bool:
    """Whether the row still shows the release_time that our claim gave it (rule 3)."""
    if row.release_in is None or row.run_count < 1:
        return False
    latest = claim.lease_time - claim.claimed_ago
    return latest - claim.claim_seconds - CLOCK_SLACK <= row.release_in <= latest + CLOCK_SLACK


def settle(rows: list[RowSeen], claim: OpenClaim) -> list[Verdict]:
    """One verdict for each id. The culprit is the first sent row still under our lease (rule 4)."""
    seen = {row.id: row for row in rows}
    verdicts = []
    begun_found = False
    for item_id in claim.sent:
        row = seen.get(item_id)
        begun = row is not None and under_our_lease(row, claim) and not (claim.in_order and begun_found)
        begun_found = begun_found or begun
        verdicts.append(_verdict(item_id, row, claim, begun=begun))
    verdicts += [_verdict(item_id, seen.get(item_id), claim, begun=False) for item_id in claim.unsent]
    return verdicts


def _verdict(item_id: str, row: RowSeen | None, claim: OpenClaim, *, begun: bool) -> Verdict:
    if row is None:
        return Verdict(item_id, Fate.FINISHED)
    if not under_our_lease(row, claim):
        return Verdict(item_id, Fate.LEFT)
    touch_release = row.release_in is not None and row.release_in > LEASE_MARGIN
    if begun and not claim.ours:
        if not touch_release:
            return Verdict(item_id, Fate.RELEASED)
        return Verdict(item_id, Fate.RELEASED, ("release_time",), release=claim.retry_interval)
    write = ("run_count", "release_time") if touch_release else ("run_count",)
    return Verdict(item_id, Fate.RETURNED, write, row.run_count - 1, claim.delay or None)
