"""What a former daemon left open goes into the ledger of this one, to be settled as all claims are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coworker.claims.reading import CAUSE, OldClaim, Recovered
from coworker.master.ledger import Ledger, Place
from coworker.master.settler import Settler
from coworker.policy.settlement import in_running_order


def reopen(recovered: Recovered, ledger: Ledger, settler: Settler, *, now: float, patience: float) -> None:
    """Have all of it settled. `patience`: seconds after which a claim surely was answered or refused."""
    for number, claim in enumerate(recovered.claims.values(), start=1):
        open_ids = [item_id for item_id in claim.items if item_id not in claim.ended]
        if not open_ids:
            continue
        name = f"old.{number}"
        opened = ledger.open(
            name, claim.queue, 0, [claim.items[item_id] for item_id in open_ids], (), claim.leases
        )
        for fields in _parts(claim, open_ids):
            settler.settle(opened, Place.HELD, recovered=True, **fields)
    for old in recovered.lost:
        until = old.until or max(old.since, min(now, old.since + patience))
        settler.lose(old.queue, old.since, until, old.cause, recovered=True)
    settler.crash_counts = recovered.crash_counts
    settler.crash_counts.changed = True


def _parts(claim: OldClaim, open_ids: list[str]) -> Iterator[dict[str, Any]]:
    """What is to be settled of it: the fields of a Settlement each."""
    left = dict.fromkeys(open_ids)
    for entry in claim.settling:
        sent, unsent = ([each for each in entry[name] if each in left] for name in ("sent", "unsent"))
        for each in (*sent, *unsent):
            del left[each]
        if sent or unsent:
            yield {**entry, "sent": sent, "unsent": unsent}
    sent = in_running_order([each for each in left if each in claim.begun])
    unsent = [each for each in left if each not in claim.begun]
    if left:
        yield {"sent": sent, "unsent": unsent, "cause": CAUSE, "out_of_sight": claim.remote}
