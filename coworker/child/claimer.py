"""Claiming items from a queue: each claim is noted before it is sent, and reported (rules 7 and 10)."""

from __future__ import annotations

import time
from dataclasses import dataclass

from coworker.civi import queues
from coworker.civi.connection import SiteClient
from coworker.civi.refusals import is_database_error
from coworker.claims.beginnings import Notes
from coworker.claims.journal import Journal
from coworker.errors import CallError, EmptyAnswerError, ProtocolError, SiteError
from coworker.ipc.link import ChildLink
from coworker.ipc.messages import Claimed, ClaimFailed, Claiming, NotClaimed
from coworker.ipc.packing import pack
from coworker.model import Item, Lease, QueueInfo


class DatabaseLostError(ProtocolError):
    """The pipe's database connection is gone; nothing reconnects it (contract A5)."""


@dataclass
class Claimer:
    """The claims of one child; their names begin with the number of the `child`."""

    child: int
    link: ChildLink
    client: SiteClient
    call_timeout: float  # seconds
    journal: Journal
    notes: Notes  # that the pipe takes of what it begins
    run_as_in_data: bool = False  # CiviCRM before 5.56 (contract A3)
    _claims: int = 0
    _release: str | None = None  # the release_time of the rows claimed last

    def claim(self, info: QueueInfo, asked_at: float) -> list[Item] | None:
        """Claim a batch; None if that failed. Raises if the pipe must go, or may have claimed anyhow."""
        queue = info.name
        try:
            self.journal.claiming(info, asked_at)
        except OSError as error:
            reason = f"the claims journal in state_dir cannot be written: {error.strerror}"
            self.link.post(ClaimFailed(queue, reason))
            return None
        try:
            self.link.post(Claiming(queue, asked_at))
            items, self._release = queues.claim_batch(
                self.client, queue, timeout=self.call_timeout, run_as_in_data=self.run_as_in_data
            )
        except CallError as error:
            self._refused(queue, error)
            return None
        except SiteError:
            if not self.client.pipe.request_sent:
                self.journal.gave_nothing()
                self.link.post(NotClaimed(queue))
            raise
        if not items:
            self.journal.gave_nothing()
        return items

    def _refused(self, queue: str, error: CallError) -> None:
        """Report a claim that was refused. Raises if it is more than the queue's own trouble."""
        if is_database_error(str(error)):
            raise DatabaseLostError(f"claiming from {queue}: {error}") from error
        if isinstance(error, EmptyAnswerError):
            raise ProtocolError(f"claiming from {queue}: it could not say what it claimed") from error
        self.journal.gave_nothing()
        self.link.post(ClaimFailed(queue, str(error)))

    def claimed(self, queue: str, items: list[Item], asked_at: float, begun: list[str]) -> str:
        """Name the claim, note it and report it; `begun` are the ids that run at once."""
        now = round(time.monotonic(), 6)
        self._claims += 1
        name = f"{self.child}.{self._claims}"
        lease = Lease(now, round(now - asked_at, 6), self._release)
        if begun:
            self.notes.sent(name)  # first: what the journal calls begun can then be told from what was
        self.journal.claimed(name, items, lease, begun=begun)
        self.link.post(Claimed(name, queue, pack(items), *lease))
        return name
