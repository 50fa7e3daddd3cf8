"""A worker: it claims from a queue, splits by identity, runs, and reports in passing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf
from typing import Any

from coworker.child.body import Body
from coworker.child.claimer import Claimer, DatabaseLostError
from coworker.child.memory_gauge import MemoryGauge
from coworker.civi import queues
from coworker.civi.fingerprint import CodeDirectory
from coworker.civi.outcome import Outcomes
from coworker.civi.refusals import (
    is_contact_refusal,
    is_database_error,
    is_setup_refusal,
    is_unrunnable,
)
from coworker.claims.beginnings import Notes, read_lines, read_seconds
from coworker.claims.journal import Journal
from coworker.errors import CallError, ForbiddenError, ProtocolError, RequestTooLongError, SiteError
from coworker.ipc.messages import (
    Bound,
    CodeMoved,
    Done,
    HandedOff,
    Idle,
    NotBegun,
    Note,
    Refused,
    Run,
    RunSent,
    Unanswered,
    Work,
)
from coworker.ipc.packing import pack_runs, unpack
from coworker.model import Identity, Item, Outcome
from coworker.policy import matching

UNKNOWN = Outcome.UNKNOWN
WORTH_TELLING = 0.1  # seconds for a batch, from which on it is told how long each item of it took


@dataclass
class Worker(Body):
    """The child that serves `Work` and `Run` orders with one pipe, under one identity for life."""

    claimer: Claimer
    gauge: MemoryGauge
    remote: bool = False  # PHP goes on when the pipe is lost, so items are sent one by one (rule 9)
    own_domain: int | None = None  # that the pipe serves, if it says so
    directory: CodeDirectory | None = None  # whose code the pipe has, where that can be seen
    identity: Identity | None = None
    _done: int = 0

    @property
    def journal(self) -> Journal:
        return self.claimer.journal

    @property
    def notes(self) -> Notes:
        return self.claimer.notes

    def serve_order(self, order: Any) -> None:
        """Serve one order. Raises what the pipe raises; then this worker is finished."""
        self.journal.next_order()
        if isinstance(order, Work):
            why = self._work(order)
            self.link.post(Idle(order.info.name, why))
        elif isinstance(order, Run):
            items = unpack(order.items)
            self.title.show(self.identity, order.info.name, self._done)
            self.journal.handed(order.claim, order.info, items, order.leases)
            why = self._run_handed(order, items)
            self.link.post(Idle(order.info.name, why))
        self.journal.flush()
        self.title.show(self.identity, None, self._done)

    def wait_idly(self) -> None:
        """Wait until something happens; the memory after the last batch may still have to be measured."""
        patience = self.gauge.patience()
        self.poller.wait(patience)
        if patience is not None:
            self.gauge.after_batch()
            self.link.flush()

    def _work(self, order: Work) -> str:
        """Run batch after batch. Returns why the order ended (see Idle)."""
        until = time.monotonic() + order.seconds
        done_before = self._done
        self.title.show(self.identity, order.info.name, self._done)
        first = True
        while True:
            if self.link.inbox:
                return "order"
            if self._has_old_code():
                return "moved"
            asked_at = round(time.monotonic(), 6)
            items = self.claimer.claim(order.info, asked_at)
            if not items:
                return "failed" if items is None else "empty"
            if first:
                self.link.hurry()  # a full batch proves work for one more
                first = False
            if not self._take(order, items, asked_at):
                return "handed"
            self.title.count(self._done)
            if order.quota and self._done - done_before >= order.quota:
                return "quota"
            if time.monotonic() >= until:
                return "slice"

    def _run_handed(self, order: Run, items: list[Item]) -> str:
        """Run what another worker has claimed. Returns why the order ended (see Idle)."""
        if self._has_old_code():
            self.link.post(HandedOff(order.claim, [item.id for item in items]))
            return "moved"
        self._run_as(order.claim, order.info.name, items, announced=False)
        return "ran"

    def _has_old_code(self) -> bool:
        """Whether a new release has come: the master is told, and nothing is begun here (process rule 9)."""
        if self.directory is None or not self.directory.has_moved:
            return False
        self.link.post(CodeMoved(str(self.directory.path)))
        return True

    def _take(self, order: Work, items: list[Item], asked_at: float) -> bool:
        """Run our own part of a batch and hand off the rest. Whether all of it was ours."""
        queue = order.info.name
        mine, rest = matching.split(items, self.identity, self.own_domain, bind=order.bind)
        announced = self.identity is not None and not self.remote
        begun = [item.id for item in mine] if announced else []
        claim = self.claimer.claimed(queue, items, asked_at, begun)
        if rest:
            self.link.post(HandedOff(claim, [item.id for item in rest]))
        if mine:
            self._run_as(claim, queue, mine, announced=announced)
        return not rest

    def _run_as(self, claim: str, queue: str, items: list[Item], *, announced: bool) -> None:
        """Bind if need be, and run the items. `announced`: the master knows they are begun (RunSent)."""
        ids = [item.id for item in items]
        if self.identity is None:
            # The claim must be known before anything can go wrong with the login.
            self.link.flush()
            if not self._bind(claim, queue, items):
                return
        parts = [[item_id] for item_id in ids] if self.remote else [ids]
        while parts:
            part = parts.pop(0)
            rest = [item_id for each in parts for item_id in each]
            try:
                error = self._run(claim, queue, part, announced=announced)
                self.output.check_fitness()
            except ForbiddenError as refusal:  # of our contact over HTTP: nothing was begun
                self.link.post(Refused(claim, [*part, *rest], f"{items[0].identity}: {refusal}"))
                return
            if error is not None and rest:
                self.link.post(Unanswered(claim, rest, error, begun=False))
                return

    def _run(self, claim: str, queue: str, ids: list[str], *, announced: bool) -> str | None:
        """Send one runItems. Returns the error that it was answered with, if any. Raises ForbiddenError."""
        if not announced:
            self.notes.sent(claim)
            self.journal.run_sent(claim, ids)
            self.link.post(RunSent(claim, ids))
        self.output.begin(queue, ids, self.identity)
        if not announced:
            self.link.hurry()
        if self.journal.behind:
            self.link.flush()
        sent_at = time.monotonic()
        try:
            answer = queues.run(self.client, queue, ids, timeout=inf)
        except ForbiddenError:
            raise
        except CallError as error:
            self.output.tell(failed=True)
            sent = self.client.pipe.request_sent and not isinstance(error, RequestTooLongError)
            begun_any = sent and not is_unrunnable(str(error))
            noted = _ids(self.notes.batch(ran=False)) if begun_any else None
            no_database = is_database_error(str(error))
            self.link.post(Unanswered(claim, ids, str(error), begun_any, noted, no_database))
            self.link.flush()
            if no_database:
                raise DatabaseLostError(f"running {queue}: {error}") from error
            return str(error)
        except SiteError:
            if not self.client.pipe.request_sent:
                self.journal.not_begun(claim, ids)
                self.link.post(NotBegun(claim, ids))
            raise
        took = time.monotonic() - sent_at
        self._report(claim, queue, answer, took)
        self.gauge.after_batch(took)
        return None

    def _report(self, claim: str, queue: str, answer: Outcomes, took: float) -> None:
        failed = not answer.all_ok
        errors = self.output.tell(failed=failed)
        if failed or self.journal.behind:
            self.link.hurry()
        for oddity in answer.oddities:
            self.link.post(Note("warning", "odd_outcome", {"queue": queue, "text": oddity}))
        known = [item_id for item_id, outcome in answer.items() if outcome is not UNKNOWN]
        self._done += len(known)
        self.journal.ended(claim, known)
        noted = self.notes.batch(ran=answer.any_ok)
        if len(known) < len(answer):
            unknown = [item_id for item_id, outcome in answer.items() if outcome is UNKNOWN]
            begun = None if noted is None else [each for each in _ids(noted) or [] if each in unknown]
            text = "the answer names no outcome for them"
            self.link.post(Unanswered(claim, unknown, text, noted=begun))
        told = {item_id: errors[item_id] for item_id in known if item_id in errors} if errors else {}
        runs = pack_runs((item_id, answer[item_id].value) for item_id in known)
        each = _seconds(known, noted) if noted and len(known) > 1 and took >= WORTH_TELLING else []
        self.link.post(Done(claim, runs, round(took, 6), told, each))

    def _bind(self, claim: str, queue: str, items: list[Item]) -> bool:
        """Log in, before anything runs. Whether the items may be run now (identity rules 6 and 7)."""
        identity, ids = matching.as_served(items[0].identity, self.own_domain), [item.id for item in items]
        if not matching.serves_domain(self.own_domain, identity):
            reason = f"this pipe serves domain {self.own_domain}, not {identity.domain}"
            self.link.post(Refused(claim, ids, reason))
            return False
        if identity.contact is not None or not self.client.binds:
            try:
                self.client.login(identity.contact)
            except CallError as error:
                return self._login_refused(claim, queue, ids, identity, str(error))
        if self.client.binds:
            self._bound(identity)
        return True

    def _login_refused(self, claim: str, queue: str, ids: list[str], identity: Identity, why: str) -> bool:
        """Whether the items may be run all the same. Raises ProtocolError if we may be logged in."""
        if is_contact_refusal(why):
            # Without a login CiviCRM refuses the task before its callback, and its own policy applies.
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


def _ids(noted: list[str] | None) -> list[str] | None:
    return None if noted is None else [each.id for each in read_lines(noted)]


def _seconds(ids: list[str], noted: list[str]) -> list[float]:
    """How long each of these took; what CiviCRM ended without calling it took no time."""
    took = read_seconds(noted)
    return [took.get(each, 0.0) for each in ids]
