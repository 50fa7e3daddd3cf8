"""What became of a claim whose answer never came: rows seen + claim → what to do (rules 3 to 7).

Fates of an item:
 finished      the row is gone: the task ended, with an outcome that nobody heard
 left          CiviCRM dealt with it already, or somebody else has it: it is not ours any more
 given_back    never begun, or ended by us at a stop: its try is restored, it may be claimed again
 try_restored  never begun, but perhaps another's, or still in the hands of a pipe that we cannot see: its try
               is restored, its lease must end by itself
 try_counted   begun: the try counts, and CiviCRM's own retry limit and error policy decide at the next claim
 unknown       begun where nobody can see whether it still runs: it is watched (rule 9)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from coworker.model import QueueInfo, Unsettled

LEASE_MARGIN = 10  # seconds of lease that must be left for release_time to be touched (rule 6)
ZONES = 900  # seconds that time zones are apart, or a multiple of that
CLOCK_SLACK = 2  # seconds by which the end of our lease may be misjudged


class Fate(str, Enum):
    FINISHED = "finished"
    LEFT = "left"
    GIVEN_BACK = "given_back"
    TRY_RESTORED = "try_restored"
    TRY_COUNTED = "try_counted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RowSeen:
    """A row as the site shows it now. `release_in`: seconds until its release_time, None for NULL."""

    id: str
    run_count: int
    release_in: float | None
    release_time: str | None = None


class LeaseAge(NamedTuple):
    """When a lease of ours began: between `ago` and `ago + within` seconds ago.

    `release`: the release_time that its rows show, if that is known.
    """

    ago: float
    within: float = 0.0
    release: str | None = None


@dataclass(frozen=True, slots=True)
class OpenClaim:
    """The part of a claim to be judged. `leases`: any of them may be the one that a row shows."""

    queue: QueueInfo
    part: Unsettled
    leases: list[LeaseAge]

    @property
    def in_order(self) -> bool:
        """Whether runItems runs in order, as for runner `task`; else all of it counts as begun (rule 4)."""
        return self.queue.runner == "task"


class Verdict(NamedTuple):
    """A fate, and the fields to `write`: `run_count`, and `release` (seconds from now, None for NULL)."""

    id: str
    fate: Fate
    write: tuple[str, ...] = ()
    run_count: int = 0
    release: int | None = None


def under_our_lease(row: RowSeen, leases: Collection[LeaseAge], lease_time: int) -> bool:
    """Whether the row still shows the release_time that our claim, or a renewal, gave it (rule 3)."""
    return row.release_in is not None and any(_shows(row, lease, lease_time) for lease in leases)


def _shows(row: RowSeen, lease: LeaseAge, lease_time: int) -> bool:
    """Whether the row shows this lease: by its release_time if that is known, else by its age.

    A clock that was set makes every age wrong. But two connections may show times in two zones.
    """
    if lease.release and row.release_time:
        apart = datetime.fromisoformat(row.release_time) - datetime.fromisoformat(lease.release)
        if apart.total_seconds() % ZONES or not apart:
            return not apart
    ago = lease_time - (row.release_in or 0.0)
    return lease.ago - CLOCK_SLACK <= ago <= lease.ago + lease.within + CLOCK_SLACK


def may_touch_release(row: RowSeen) -> bool:
    """Whether enough of the lease is left for nobody else to claim the row meanwhile (rule 6)."""
    return row.release_in is not None and row.release_in > LEASE_MARGIN


def in_running_order(ids: list[str]) -> list[str]:
    """The ids in the order in which runItems runs them: it fetches its items again, by id."""
    return sorted(ids, key=int) if all(map(str.isdecimal, ids)) else ids


def settle(rows: list[RowSeen], claim: OpenClaim) -> list[Verdict]:
    """One verdict for each id."""
    seen = {row.id: row for row in rows}
    ours = _ours(rows, claim)
    begun = _begun(claim, ours)
    return [_verdict(each, seen.get(each), claim, ours, begun=each in begun) for each in claim.part.ids]


def _begun(claim: OpenClaim, ours: Collection[str]) -> Collection[str]:
    """The items that count as begun: as the pipe noted, else the first sent row still ours (rule 4)."""
    part = claim.part
    if part.begun is None:
        left = [each for each in part.sent if each in ours]
        return left[:1] if claim.in_order else left
    return part.begun or part.poisoned  # that one brings its pipes down before it is called


def suspects(part: Unsettled, queue: QueueInfo) -> list[str]:
    """The sent items one of which may have brought the pipe down (rule 15)."""
    if part.begun is None:
        return part.sent
    if part.begun:
        return part.begun[-1:] if queue.runner == "task" else part.begun
    return part.sent[:1] if part.by_itself else []


def _ours(rows: list[RowSeen], claim: OpenClaim) -> frozenset[str]:
    """The rows that are still under this claim's lease.

    A claim leases all its rows to one moment (contract A5). So a row that might show this lease, but ends
    later, has been freed for a retry and claimed by somebody else. This is not so for renewals.
    """
    first, *renewed = claim.leases
    claimed = [row for row in rows if under_our_lease(row, [first], claim.queue.lease_time)]
    end = min((row.release_in for row in claimed if row.release_in is not None), default=None)
    over = end is not None and end <= 0  # then others may have claimed rows of ours in this very order
    return frozenset(
        row.id
        for row in rows
        if under_our_lease(row, renewed, claim.queue.lease_time)
        or (row in claimed and (over or row.release_in == end))
    )


def _verdict(
    item_id: str, row: RowSeen | None, claim: OpenClaim, ours: Collection[str], *, begun: bool
) -> Verdict:
    if row is None:
        return Verdict(item_id, Fate.FINISHED)
    if item_id not in ours:
        return Verdict(item_id, Fate.LEFT)
    if claim.part.out_of_sight and (begun or item_id in claim.part.sent):
        return _unseen(row, begun=begun)
    spared = claim.part.stopped_by_us or (claim.part.signalled and item_id not in claim.part.unspared)
    if begun and not spared:
        return _counted(row, claim)
    release = ("release_time",) if may_touch_release(row) else ()
    if row.run_count < 1:
        return Verdict(item_id, Fate.GIVEN_BACK, release, release=claim.part.delay or None)
    return Verdict(
        item_id, Fate.GIVEN_BACK, ("run_count", *release), row.run_count - 1, claim.part.delay or None
    )


def _unseen(row: RowSeen, *, begun: bool) -> Verdict:
    """The verdict on an item that may run where nobody sees it, or be begun there yet."""
    if begun:
        over = row.release_in is not None and row.release_in <= 0
        return Verdict(row.id, Fate.LEFT if over else Fate.UNKNOWN)
    if row.run_count < 1:
        return Verdict(row.id, Fate.TRY_RESTORED)
    return Verdict(row.id, Fate.TRY_RESTORED, ("run_count",), row.run_count - 1)


def _counted(row: RowSeen, claim: OpenClaim) -> Verdict:
    """The verdict on a begun item. A claim makes run_count 1 at least: less is another's mistake."""
    tried = max(1, row.run_count)
    if claim.part.begun == [] and tried > claim.queue.retry_limit + 2:
        return Verdict(row.id, Fate.TRY_COUNTED)  # CiviCRM cannot end it: its lease makes the pauses
    if row.id in claim.part.poisoned:
        tried = max(tried, claim.queue.retry_limit + 2)
    count = ("run_count",) if tried != row.run_count else ()
    if not may_touch_release(row):
        return Verdict(row.id, Fate.TRY_COUNTED, count, tried if count else 0)
    write = (*count, "release_time")
    return Verdict(row.id, Fate.TRY_COUNTED, write, tried if count else 0, claim.queue.retry_interval)


def orphans(
    rows: list[RowSeen], leases: Collection[LeaseAge], lease_time: int, named: Collection[str], *, sole: bool
) -> list[Verdict]:
    """Judge what a claim without an answer took (rule 7): rows under such a lease that no answer `named`.

    Unless we are the `sole` agent they may be another daemon's. Then only the try is restored, and the lease
    is left to end: nothing is lost, and nothing is freed that somebody runs.
    """
    verdicts = []
    for row in rows:
        if row.id in named or row.run_count < 1 or not under_our_lease(row, leases, lease_time):
            continue
        free = sole and may_touch_release(row)
        write = ("run_count", "release_time") if free else ("run_count",)
        verdicts.append(
            Verdict(row.id, Fate.GIVEN_BACK if free else Fate.TRY_RESTORED, write, row.run_count - 1)
        )
    return verdicts
