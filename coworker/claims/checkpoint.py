"""What only the master knows of a site's open claims, in a file: handed items, settlements, renewed leases.

Its children keep a journal each of what they hold (`journal`). This file is written anew and renamed into
place, before a child is given the order that lets it forget, and before the journal of a dead one is removed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

from coworker.claims.journal import MARK, VERSION
from coworker.ipc.messages import pack
from coworker.master.ledger import Claim, Entry, Ledger, Place
from coworker.master.settler import Settler
from coworker.model import Lease
from coworker.unix.proc import boot_id, this_process

SITE = "site-"  # what its name begins with


def site_file(directory: Path, site: str) -> Path:
    """The file of a site. No journal of a child has such a name."""
    return directory / f"{SITE}{site}.claims"


class Checkpoint:
    """Writes the file of one site when the ledger has changed."""

    def __init__(
        self, directory: Path, site: str, ledger: Ledger, settler: Settler, log: Callable[..., None]
    ) -> None:
        self._path = site_file(directory, site)
        self._head = {"site": site, "boot": boot_id(), "master": this_process()}
        self._ledger = ledger
        self._settler = settler
        self._log = log
        self._spent: list[Path] = []
        self._failed = False

    def supersede(self, *paths: Path) -> None:
        """These files are of no more use once this one is written."""
        self._spent += paths
        self._ledger.changed = True

    def save(self) -> None:
        """Write what has changed. What cannot be written now is tried again with the next change."""
        if not (self._ledger.changed or self._settler.crash_counts.changed):
            return
        try:
            self._write()
            for path in self._spent:
                path.unlink(missing_ok=True)
        except OSError as error:
            if not self._failed:
                reason = f"{self._path}: {error.strerror}"
                what = "after a KILL of the daemon some claims would have to wait for the end of their leases"
                self._log("error", "claims_not_kept", reason=reason, what=what)
            self._failed = True
            return
        self._spent.clear()
        self._ledger.changed = self._settler.crash_counts.changed = self._failed = False

    def _write(self) -> None:
        content = self._content()
        if not any(content.values()):
            self._path.unlink(missing_ok=True)
            return
        head = {**self._head, "wall": round(time.time() - time.monotonic(), 3)}
        fresh = self._path.with_suffix(".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as stream:
            json.dump([MARK, VERSION, {**head, **content}], stream, separators=(",", ":"))
        fresh.replace(self._path)

    def _content(self) -> dict[str, Any]:
        claims = self._ledger.claims.values()
        return {
            "claims": [_claim(claim, kept) for claim in claims if (kept := _kept(claim))],
            "renewed": [[c.id, _leases(c)] for c in claims if len(c.leases) > 1 or c.renewing is not None],
            "settling": [
                {
                    "claim": entry.claim.id,
                    "sent": entry.sent,
                    "unsent": entry.unsent,
                    "ours": entry.stopped_by_us,
                    "delay": entry.delay,
                    "blameless": entry.blameless,
                    "out_of_sight": entry.out_of_sight,
                    "cause": entry.cause,
                }
                for entry in self._settler.settlements.of_claims()
            ],
            "lost": [
                [list(astuple(lost.queue)), lost.since, lost.until, lost.cause]
                for lost in self._settler.settlements.lost_claims()
            ],
            "crashes": self._settler.crash_counts.values(),
        }


def _kept(claim: Claim) -> list[Entry]:
    """Those of its items that no child's journal names any more, or perhaps not yet."""
    return [entry for entry in claim.entries.values() if entry.given or entry.place is not Place.HELD]


def _claim(claim: Claim, entries: list[Entry]) -> list[Any]:
    items = pack([entry.item for entry in entries])
    return [claim.id, list(astuple(claim.queue)), _leases(claim), items]


def _leases(claim: Claim) -> list[Any]:
    """A renewal that was asked for may have begun at any time since: `at` is null then."""
    asked = [[None, claim.renewing]] if claim.renewing is not None else []
    return [*(list(lease) for lease in claim.leases), *asked]


def leases_of(values: list[Any], now: float) -> list[Lease]:
    """Leases as they were written; `now` in the clock of those times."""
    return [Lease(now, max(0.0, now - since)) if at is None else Lease(at, since) for at, since in values]
