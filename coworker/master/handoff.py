"""Items that this site's pipes cannot run as they are set up: given back, with an alert (section 5)."""

from __future__ import annotations

from collections.abc import Sequence

from coworker.master.ledger import Ledger, Place
from coworker.master.queue_states import Log
from coworker.master.settler import Settler

REFUSED_DELAY = 60  # seconds until they may be claimed again


class Refusals:
    """Each reason is an error once, until the settings change."""

    def __init__(self, ledger: Ledger, settler: Settler, log: Log) -> None:
        self._ledger, self._settler, self._log = ledger, settler, log
        self._told: set[str] = set()

    def forget(self) -> None:
        """The settings have changed."""
        self._told.clear()

    def refuse(self, claim_id: str, ids: Sequence[str], reason: str, place: Place = Place.HELD) -> None:
        """They must not be deleted for our mistake."""
        claim = self._ledger.claims[claim_id]
        level = "debug" if reason in self._told else "error"
        self._told.add(reason)
        self._log(level, "items_refused", queue=claim.queue.name, items=",".join(ids), reason=reason)
        self._settler.settle(claim, place, unsent=ids, cause=reason, delay=REFUSED_DELAY)
