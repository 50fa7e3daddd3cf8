"""Messages over a socket: what both ends have in common, and what is particular to the child's."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from typing import Any

from coworker.ipc import messages as m
from coworker.model import RetireReason
from coworker.unix.sockets import Channel
from coworker.wire.lines import LineSplitter

MESSAGE_LIMIT = 64 * 1024 * 1024  # bytes; a batch of 100,000 items is far below
SEND_PATIENCE = 5.0  # seconds that a child waits for a master that does not read
PASSING = 0.02  # seconds that a report may wait for others to leave with it


class MasterGoneError(BaseException):
    """The master's end of the socket is closed: begin nothing new and leave (process rule 6).

    Like RetireNowError it is not an Exception: it breaks out of whatever the child does, past error handling.
    """


class RetireNowError(BaseException):
    """The master wants the pipe ended at once, whatever it runs."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Link:
    """One end: sends messages, collects those that arrived. Raises ProtocolError for what is not one."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._lines = LineSplitter(MESSAGE_LIMIT)

    def send(self, *sent: m.Order | m.Report) -> None:
        """Send all of these in one write."""
        self.channel.send(b"".join(map(m.encode, sent)))

    def receive(self) -> list[Any]:
        """The messages that have arrived. `channel.closed` tells when no more will."""
        data = self.channel.receive()
        return [m.decode(line) for line in self._lines.feed(data)] if data else []


class ChildLink(Link):
    """The child's end. Reports are posted and leave together: at the next `flush`, or in passing (`tend`,
    which the connection calls while it waits for the site).

    A child may die with reports that did not leave: what matters of them is in its journal, too. `inbox` has
    the orders not served yet. `on_readable` is the poller's callback, also in the midst of a call.
    """

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self.inbox: deque[Any] = deque()
        self._outgoing: list[m.Report] = []
        self._due = inf  # monotonic seconds: when the reports that wait must leave

    def on_readable(self) -> None:
        """Take the orders that have arrived. Raises MasterGoneError and RetireNowError."""
        for order in self.receive():
            if isinstance(order, m.Retire) and order.now:
                raise RetireNowError(order.reason)
            if isinstance(order, m.Flush):
                self.report(m.Flushed())
                continue
            self.inbox.append(order)
        if self.channel.closed:
            raise MasterGoneError

    def retire(self, reason: RetireReason = RetireReason.SHUTDOWN) -> None:
        """Retire as if the master had ordered it; TERM does this."""
        self.inbox.append(m.Retire(reason.value))

    def post(self, report: m.Report) -> None:
        """Send the report with the next flush, or in passing."""
        if self._due == inf:
            self._due = time.monotonic() + PASSING
        self._outgoing.append(report)

    def hurry(self) -> None:
        """Have what was posted leave as soon as the next request is on its way."""
        self._due = 0.0

    def tend(self, now: float) -> float:
        """Send what has waited long enough. When to ask again (monotonic seconds). Raises MasterGoneError."""
        if now >= self._due:
            self.flush()
        return self._due

    def flush(self) -> None:
        """Send what was posted. Raises MasterGoneError when nobody is there to read it."""
        self._due = inf
        if self._outgoing:
            outgoing, self._outgoing = condense(self._outgoing), []
            self.send(*outgoing)
            if self.channel.pending:
                self.channel.flush_within(SEND_PATIENCE)
            if self.channel.closed or self.channel.broken:
                raise MasterGoneError

    def say_what_is_left(self) -> None:
        """Send what was posted before something that takes long, whether anybody reads it or not."""
        with suppress(MasterGoneError):
            self.flush()

    def report(self, report: m.Report) -> None:
        """Post the report and flush."""
        self.post(report)
        self.flush()


def condense(reports: Sequence[m.Report]) -> list[m.Report]:
    """The same in fewer reports, for those that leave together: a batch that began and ended is one.

    The master knows as much afterwards. What was said in between (Bound, RunSent, HandedOff, a Note) stays.
    """
    kept: list[m.Report] = []
    for report in reports:
        last = kept[-1] if kept else None
        if isinstance(report, m.Claimed) and isinstance(last, m.Claiming):
            kept[-1] = report
        elif isinstance(report, m.Done) and isinstance(last, m.Claimed) and _is_all_of(report, last):
            contact, domain, _ = last.items[0]
            asked_at = round(last.at - last.seconds, 6)
            kept[-1] = m.BatchDone(last.claim, last.queue, asked_at, contact, domain, *report[1:])
        else:
            kept.append(report)
    return kept


def _is_all_of(done: m.Done, took: m.Claimed) -> bool:
    """Whether nothing of the claim is open after this. Items of several identities are told one by one."""
    ended = sum(len(ids) for _, ids in done.outcomes)
    return done.claim == took.claim and len(took.items) == 1 and ended == len(took.items[0][2])
