"""What only the master knows of a site's open claims, in a file: handed items, settlements, renewed leases.

Its children keep a journal each of what they hold (`journal`). This file is written anew and renamed into
place, before a child is given the order that lets it forget, and before the journal of a dead one is removed.
`reading` reads it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coworker.claims.journal import MARK, VERSION
from coworker.ipc.packing import pack
from coworker.log import EventLog
from coworker.model import Item, Lease, QueueInfo, Unsettled
from coworker.unix.proc import boot_id, this_process

SITE = "site-"  # what its name begins with


class OpenLeases(NamedTuple):
    """The leases that rows of a claim may show, and since when a renewal is under way (monotonic seconds)."""

    leases: Sequence[Lease]
    renewing: float | None = None


class KeptClaim(NamedTuple):
    """Items of a claim that no child's journal names any more, or perhaps not yet."""

    claim: str
    queue: QueueInfo
    leases: OpenLeases
    items: list[Item]


class KeptIntent(NamedTuple):
    """A claim without an answer that has still to be searched for; times in monotonic seconds."""

    queue: QueueInfo
    since: float
    until: float
    cause: str


class Snapshot(NamedTuple):
    """All that the file holds. `crashes`: {queue: {item: [count, at]}}, see master.crash_counts."""

    claims: list[KeptClaim]
    renewed: list[tuple[str, OpenLeases]]
    settling: list[tuple[str, Unsettled]]
    lost: list[KeptIntent]
    crashes: dict[str, dict[str, list[Any]]]


def site_file(directory: Path, site: str) -> Path:
    """The file of a site. No journal of a child has such a name."""
    return directory / f"{SITE}{site}.claims"


class Checkpoint:
    """The file of one site, and the journals that it makes superfluous."""

    def __init__(self, directory: Path, site: str, log: EventLog) -> None:
        self._path = site_file(directory, site)
        self._head = {"site": site, "boot": boot_id(), "master": this_process()}
        self._log = log
        self._spent: list[Path] = []
        self._failed = False

    @property
    def has_spent(self) -> bool:
        """Whether files wait for the next `save` to be removed."""
        return bool(self._spent)

    def supersede(self, *paths: Path) -> None:
        """These files are of no more use once this one is written."""
        self._spent += paths

    def save(self, snapshot: Snapshot) -> bool:
        """Write it. Whether that was possible; if not, it is to be tried again with the next change."""
        try:
            self._write(snapshot)
            for path in self._spent:
                path.unlink(missing_ok=True)
        except OSError as error:
            if not self._failed:
                reason = f"{self._path}: {error.strerror}"
                what = "after a KILL of the daemon some claims would have to wait for the end of their leases"
                self._log.event("error", "claims_not_kept", reason=reason, what=what)
            self._failed = True
            return False
        self._spent.clear()
        self._failed = False
        return True

    def _write(self, snapshot: Snapshot) -> None:
        if not any(snapshot):
            self._path.unlink(missing_ok=True)
            return
        head = {**self._head, "wall": round(time.time() - time.monotonic(), 3), **_content(snapshot)}
        fresh = self._path.with_suffix(".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as stream:
            json.dump([MARK, VERSION, head], stream, separators=(",", ":"))
        fresh.replace(self._path)


def _content(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "claims": [
            [kept.claim, kept.queue, _leases(kept.leases), pack(kept.items)] for kept in snapshot.claims
        ],
        "renewed": [[claim, _leases(leases)] for claim, leases in snapshot.renewed],
        "settling": snapshot.settling,
        "lost": snapshot.lost,
        "crashes": snapshot.crashes,
    }


def _leases(known: OpenLeases) -> list[Any]:
    """A renewal that was asked for may have begun at any time since: `at` is null then."""
    asked = [[None, known.renewing]] if known.renewing is not None else []
    return [*known.leases, *asked]


def leases_of(values: list[Any], now: float) -> list[Lease]:
    """Leases as they were written; `now` in the clock of those times."""
    return [Lease(now, max(0.0, now - since)) if at is None else Lease(at, since) for at, since in values]
