"""The body of a worker: claim from a queue, split by identity, run, report in passing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf
from typing import Any

from coworker.civi import queues
from coworker.civi.outcome import (
    Outcomes,
    is_contact_refusal,
    is_database_error,
    is_setup_refusal,
    is_unrunnable,
)
from coworker.errors import CallError, ProtocolError, RequestTooLongError, SiteError
from coworker.model import SYSTEM, Identity, Item, Outcome
from coworker.policy import matching
from coworker.tasks.body import Body
from coworker.wire.messages import (
    Began,
    Bound,
    ClaimFailed,
    Claiming,
    Done,
    Handed,
    Idle,
    NotBegun,
    Note,
    Refused,
    Run,
    Took,
    Unanswered,
    Work,
    pack,
    unpack,
)

UNKNOWN = Outcome.UNKNOWN


class DatabaseLostError(ProtocolError):
    """The pipe's database connection is gone; nothing reconnects it (contract A5)."""


@dataclass
class Worker(Body):
    """Serves `work` and `run` orders with one pipe, under one identity for life."""

    own_domain: int | None = None  # that the pipe serves, if it says so
    run_as_in_data: bool = False  # CiviCRM before 5.56 (contract A3)
    identity: Identity | None = None
    _claims: int = 0
    _done: int = 0

    def serve_order(self, order: Any) -> None:
        """Raises what the pipe raises; then this worker is finished."""
        if isinstance(order, Work):
            why = self._work(order)
            self.link.post(Idle(order.queue, why))
        elif isinstance(order, Run):
            self.title.show(self.identity, order.queue, self._done)
            self._run_as(order.claim, order.queue, unpack(order.items), announced=False)
            self.link.post(Idle(order.queue, "ran"))
        self.title.show(self.identity, None, self._done)

    def _work(self, order: Work) -> str:
        """Batch after batch; returns why it ended (see Idle)."""
        until = time.monotonic() + order.seconds
        done_before = self._done
        self.title.show(self.identity, order.queue, self._done)
        while True:
            if self.link.inbox:
                return "order"
            begun = time.monotonic()
            try:
                items = self._claim(order.queue)
            except CallError as error:
                if is_database_error(str(error)):
                    raise DatabaseLostError(f"claiming from {order.queue}: {error}") from error
                self.link.post(ClaimFailed(order.queue, str(error)))
                return "failed"
            if not items:
                return "empty"
            if not self._take(order.queue, items, begun):
                return "handed"
            self.title.count(self._done)
            if order.quota and self._done - done_before >= order.quota:
                return "quota"
            if time.monotonic() >= until:
                return "slice"

    def _claim(self, queue: str) -> list[Item]:
        self.link.post(Claiming(queue))
        self.link.flush()
        items = queues.claim(
            self.client, queue, timeout=self.call_timeout, run_as_in_data=self.run_as_in_data
        )
        return [item if item.identity is SYSTEM else self._normalised(item) for item in items]

    def _normalised(self, item: Item) -> Item:
        """Without a contact it is the system's, in our domain, or in one that we cannot compare with ours."""
        contact, domain = item.identity
        ours = domain is None or self.own_domain in (None, domain)
        return Item(item.id) if contact is None and ours else item

    def _take(self, queue: str, items: list[Item], asked_at: float) -> bool:
        """Run what is ours of a batch, hand on the rest. Whether all of it was ours."""
        now = time.monotonic()
        self._claims += 1
        claim = f"{self.id}.{self._claims}"
        _, mine, rest = matching.split(items, self.identity)
        self.link.post(Took(claim, queue, pack(items), round(now, 3), round(now - asked_at, 3)))
        if rest:
            self.link.post(Handed(claim, [item.id for item in rest]))
        if mine:
            self._run_as(claim, queue, mine, announced=self.identity is not None)
        return not rest

    def _run_as(self, claim: str, queue: str, items: list[Item], *, announced: bool) -> None:
        """Bind to the items' identity, if that is still open, and run them.

        `announced`: the master knows already that they are begun (see Began).
        """
        ids = [item.id for item in items]
        if self.identity is None:
            # The claim must be known before anything can go wrong with the login.
            self.link.flush()
            if not self._bind(claim, queue, items):
                return
        if not announced:
            self.link.post(Began(claim, ids))
        self.words.begin(queue, ids, self.identity)
        self.link.flush()
        begun = time.monotonic()
        try:
            answer = queues.run(self.client, queue, ids, timeout=inf)
        except CallError as error:
            self.words.tell(failed=True)
            begun_any = not isinstance(error, RequestTooLongError) and not is_unrunnable(str(error))
            self.link.post(Unanswered(claim, ids, str(error), begun_any))
            self.link.flush()
            if is_database_error(str(error)):
                raise DatabaseLostError(f"running {queue}: {error}") from error
            return
        except SiteError:
            if not self.client.pipe.request_sent:
                self.link.post(NotBegun(claim, ids))
            raise
        self._report(claim, queue, answer, time.monotonic() - begun)

    def _report(self, claim: str, queue: str, answer: Outcomes, took: float) -> None:
        failed = any(outcome is not Outcome.OK for outcome in answer.values())
        self.words.tell(failed=failed)
        for oddity in answer.oddities:
            self.link.post(Note("warning", "odd_outcome", {"queue": queue, "text": oddity}))
        known = [[item_id, outcome.value] for item_id, outcome in answer.items() if outcome is not UNKNOWN]
        self._done += len(known)
        if len(known) < len(answer):
            unknown = [item_id for item_id, outcome in answer.items() if outcome is UNKNOWN]
            self.link.post(Unanswered(claim, unknown, "the answer names no outcome for them"))
        self.link.post(Done(claim, known, round(took, 6)))

    def _bind(self, claim: str, queue: str, items: list[Item]) -> bool:
        """Log in, before anything runs. Whether the items may be run now (design, section 5)."""
        identity, ids = items[0].identity, [item.id for item in items]
        if None not in (identity.domain, self.own_domain) and identity.domain != self.own_domain:
            reason = f"this pipe serves domain {self.own_domain}, not {identity.domain}"
            self.link.post(Refused(claim, ids, reason))
            return False
        if identity.contact is not None:
            try:
                self.client.login(identity.contact)
            except CallError as error:
                return self._login_refused(claim, queue, ids, identity, str(error))
        self._bound(identity)
        return True

    def _login_refused(self, claim: str, queue: str, ids: list[str], identity: Identity, why: str) -> bool:
        """Whether the items may be run all the same. Raises ProtocolError when we may be somebody."""
        if is_contact_refusal(why):
            # Never logged in, so CiviCRM refuses the task before its callback and its own policy applies.
            fields = {"queue": queue, "identity": str(identity), "reason": why}
            self.link.post(Note("warning", "login_refused", fields))
            return True
        self.link.post(Refused(claim, ids, why))
        if is_database_error(why):
            raise DatabaseLostError(f"logging in: {why}")
        if not is_setup_refusal(why):
            raise ProtocolError(f"logging in: {why}")
        return False

    def _bound(self, identity: Identity) -> None:
        self.identity = identity
        self.link.post(Bound(identity.contact, identity.domain))
