"""Ending claims whose answer never came: read the rows, decide, write with guards (rules 2 to 7)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from coworker.child.site_clock import SiteClock
from coworker.civi import queues
from coworker.ipc.messages import Inspect, Inspected, Search, Settle
from coworker.model import Lease
from coworker.policy.settlement import (
    CLOCK_SLACK,
    Fate,
    LeaseAge,
    OpenClaim,
    RowSeen,
    Verdict,
    may_touch_release,
    orphans,
    under_our_lease,
)
from coworker.policy.settlement import settle as decide

STAY = (Fate.TRY_COUNTED, Fate.UNKNOWN)  # fates of what was begun
CHUNK = 100  # rows renewed in one call


def settle(store: queues.RowStore, order: Settle, clock: SiteClock) -> list[list[str]]:
    """Settle every id of the order. Returns `[id, fate, text]` for each. Raises CallError."""
    found, site_now = store.rows(order.info.name, order.part.ids)
    clock.saw(site_now)
    claim = OpenClaim(order.info, order.part, _ages(order.leases, clock))
    # The culprit comes last: if we are cut off and another control begins anew, it is still the first row
    # under the lease, and none of the others is taken for it.
    verdicts = sorted(decide(_seen(found, site_now), claim), key=lambda each: each.fate in STAY)
    return _carry_out(store, order.info.name, verdicts, found)


def search(store: queues.RowStore, order: Search, clock: SiteClock) -> list[list[str]]:
    """Find and end what a claim took whose answer never came. Returns as `settle` does. Raises CallError."""
    site_now = store.clock()
    clock.saw(site_now.isoformat(" ", "seconds"))
    leases = _ages([Lease(order.until, order.until - order.since)], clock)
    ends = [order.info.lease_time - lease.ago for lease in leases]
    first, last = min(ends) - leases[0].within - CLOCK_SLACK, max(ends) + CLOCK_SLACK
    found, read_at = store.released_between(
        order.info.name, queues.moment(site_now, first), queues.moment(site_now, last)
    )
    verdicts = orphans(
        _seen(found, read_at), leases, order.info.lease_time, frozenset(order.named), sole=order.sole
    )
    return _carry_out(store, order.info.name, verdicts, found)


def inspect(store: queues.RowStore, order: Inspect, clock: SiteClock) -> Inspected:
    """See which rows are still under our lease, and renew it if that is wanted. Raises CallError."""
    found, site_now = store.rows(order.info.name, order.ids)
    clock.saw(site_now)
    leases = _ages(order.leases, clock)
    seen = {row.id: row for row in _seen(found, site_now)}
    ours = [row for row in found if under_our_lease(seen[row.id], leases, order.info.lease_time)]
    ids = [row.id for row in ours]
    if not order.renew or not ours or not all(may_touch_release(seen[row.id]) for row in ours):
        return Inspected(order.claim, ids, 0.0, 0.0, _release_of(ours))
    asked_at = time.monotonic()
    renewed = _renew(store, order, ours)
    now = time.monotonic()
    at = round(now, 3) if len(renewed) == len(ours) else 0.0
    shown = _release_of(store.rows(order.info.name, renewed).rows) if at else ""
    return Inspected(order.claim, ids, at, round(now - asked_at, 3), shown)


def _release_of(rows: Sequence[queues.Row]) -> str:
    """The release_time that all of these show; "" if there is no such."""
    shown = {row.release_time for row in rows}
    return next(iter(shown)) or "" if len(shown) == 1 else ""


def _renew(store: queues.RowStore, order: Inspect, ours: list[queues.Row]) -> list[str]:
    """Renew the lease of these rows; the ids of those renewed. Rows that differ only in ids go together."""
    values = {"release_time": f"+{order.info.lease_time} seconds"}
    groups: dict[tuple[int, str | None], list[queues.Row]] = {}
    for row in ours:
        groups.setdefault((row.run_count, row.release_time), []).append(row)
    renewed = []
    for group in groups.values():
        for start in range(0, len(group), CHUNK):
            renewed += store.update(order.info.name, group[start : start + CHUNK], values)
    return renewed


def _ages(leases: list[Lease], clock: SiteClock) -> list[LeaseAge]:
    """How old these leases are by the site's clock. If it was set, there may be several answers for one."""
    now = time.monotonic()
    return [
        LeaseAge(now - lease.at + step, lease.seconds, lease.release)
        for lease in leases
        for step in ((0.0,) if lease.release else clock.steps(lease.at - lease.seconds))
    ]


def _seen(rows: Iterable[queues.Row], site_now: str | None) -> list[RowSeen]:
    return [
        RowSeen(row.id, row.run_count, seconds_until(row.release_time, site_now), row.release_time)
        for row in rows
    ]


def _carry_out(
    store: queues.RowStore, queue: str, verdicts: list[Verdict], rows: list[queues.Row]
) -> list[list[str]]:
    """Write what the verdicts say, each only if its row is still as it was read (rule 6).

    One by one: CiviCRM selects first and then writes, and nobody is to have long to come in between.
    """
    by_id = {row.id: row for row in rows}
    fates = []
    for verdict in verdicts:
        if not verdict.write:
            fates.append([verdict.id, verdict.fate.value, ""])
            continue
        row = by_id[verdict.id]
        if store.update(queue, [row], _values(verdict)):
            fates.append([verdict.id, verdict.fate.value, f"run_count was {row.run_count}"])
        else:
            fates.append([verdict.id, Fate.LEFT.value, "somebody else changed the row meanwhile"])
    return fates


def _values(verdict: Verdict) -> dict[str, Any]:
    """The fields to write."""
    values: dict[str, Any] = {}
    if "run_count" in verdict.write:
        values["run_count"] = verdict.run_count
    if "release_time" in verdict.write:
        values["release_time"] = None if verdict.release is None else f"+{verdict.release} seconds"
    return values


def seconds_until(release_time: str | None, site_now: str | None) -> float | None:
    """The seconds between two times of the site (`2026-01-31 12:00:00`): no clock of ours matters."""
    if release_time is None or site_now is None:
        return None
    return (datetime.fromisoformat(release_time) - datetime.fromisoformat(site_now)).total_seconds()
