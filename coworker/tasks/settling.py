"""Ending a claim whose answer never came: read the rows, decide, write with guards (design, section 4)."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from coworker.civi import queues
from coworker.civi.client import Client
from coworker.policy.settlement import Fate, OpenClaim, RowSeen, Verdict
from coworker.policy.settlement import settle as decide
from coworker.wire.messages import Settle


def settle(client: Client, order: Settle) -> list[list[str]]:
    """Settle every id of the order. Returns `[id, fate, text]`, one for each; raises CallError."""
    rows, site_now = queues.rows(client, order.queue, [*order.sent, *order.unsent])
    claim = OpenClaim(
        sent=order.sent,
        unsent=order.unsent,
        claimed_ago=time.monotonic() - order.claimed_at,
        claim_seconds=order.claim_seconds,
        lease_time=order.lease_time,
        retry_interval=order.retry_interval,
        ours=order.ours,
        in_order=order.in_order,
        delay=order.delay,
    )
    by_id = {row.id: row for row in rows}
    seen = [RowSeen(row.id, row.run_count, seconds_until(row.release_time, site_now)) for row in rows]
    # The culprit comes last: if we are cut off and another control begins anew, it is still the first row
    # under the lease, and none of the others is taken for it.
    verdicts = sorted(decide(seen, claim), key=lambda verdict: verdict.fate is Fate.RELEASED)
    return [_carry_out(client, order.queue, verdict, by_id.get(verdict.id)) for verdict in verdicts]


def _carry_out(client: Client, queue: str, verdict: Verdict, row: queues.Row | None) -> list[str]:
    """Write what the verdict says, where the row still is as it was read (rule 6)."""
    if row is None or not verdict.write:
        return [verdict.id, verdict.fate.value, ""]
    values: dict[str, Any] = {}
    if "run_count" in verdict.write:
        values["run_count"] = verdict.run_count
    if "release_time" in verdict.write:
        values["release_time"] = None if verdict.release is None else f"+{verdict.release} seconds"
    matched = queues.update_row(
        client,
        queue,
        verdict.id,
        where_run_count=row.run_count,
        where_release_time=row.release_time,
        values=values,
    )
    if not matched:
        return [verdict.id, Fate.LEFT.value, "somebody else changed the row meanwhile"]
    return [verdict.id, verdict.fate.value, f"run_count was {row.run_count}"]


def seconds_until(release_time: str | None, site_now: str | None) -> float | None:
    """Both as the site writes them (`2026-01-31 12:00:00`), so its clock and zone do not matter."""
    if release_time is None or site_now is None:
        return None
    return (datetime.fromisoformat(release_time) - datetime.fromisoformat(site_now)).total_seconds()
