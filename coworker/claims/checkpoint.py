"""The file of a site with what the master alone knows of open claims: handed items, settlements, renewals.

Each child keeps a journal of what it claimed (`journal`). This file is written anew and renamed into place,
before a child is given the order that lets it forget, and before the journal of a dead one is removed.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from coworker.claims.journal import MARK, VERSION
from coworker.ipc.packing import pack
from coworker.log import EventLog
from coworker.model import Item, Lease, QueueInfo, Unsettled
from coworker.unix.proc import boot_id, pid_namespace, this_process

SITE = "site-"  # what the file's name begins with


class SavedClaim(NamedTuple):
    """Items of a claim that no child's journal names any more, or perhaps not yet."""

    claim: str
    queue: QueueInfo
    leases: list[Lease]
    items: list[Item]


class LostIntent(NamedTuple):
    """A claim without an answer, sent at `since`; at `until`, if known, nothing of its pipe ran any more."""

    queue: QueueInfo
    since: float
    until: float | None
    cause: str


class Snapshot(NamedTuple):
    """All that the file says. `renewed`: claims of whose leases the journals do not know all.

    A renewal that was asked for at T and not answered is written as Lease(inf, T): it may have begun since.
    `crashes`: {queue: {item: [count, at]}}, see master.crash_counts.
    """

    claims: list[SavedClaim]
    renewed: list[tuple[str, list[Lease]]]
    settling: list[tuple[str, Unsettled]]
    lost: list[LostIntent]
    crashes: dict[str, dict[str, list[Any]]]


def site_file(directory: Path, site: str) -> Path:
    """The path of a site's file. No journal of a child has such a name."""
    return directory / f"{SITE}{site}.claims"


class Checkpoint:
    """The file of one site, and the journals that it makes superfluous."""

    def __init__(self, directory: Path, site: str, log: EventLog) -> None:
        self._path = site_file(directory, site)
        who = {"pids": pid_namespace(), "master": this_process()}
        self._head = {"site": site, "boot": boot_id(), **who}
        self._log = log
        self._spent: list[Path] = []
        self._failed = False

    @property
    def has_spent(self) -> bool:
        """Whether files wait for the next `save` to be removed."""
        return bool(self._spent)

    def supersede(self, *paths: Path) -> None:
        """Have these files removed once this one is written: then they are of no more use."""
        self._spent += paths

    def save(self, snapshot: Snapshot) -> bool:
        """Write the file. Whether that was possible; if not, it is to be tried again with the next change."""
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
        claims = [[*saved[:3], pack(saved.items)] for saved in snapshot.claims]
        wall = round(time.time() - time.monotonic(), 3)
        head = {**self._head, "wall": wall, **snapshot._asdict(), "claims": claims}
        fresh = self._path.with_suffix(".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as stream:
            json.dump([MARK, VERSION, head], stream, separators=(",", ":"))
        fresh.replace(self._path)
