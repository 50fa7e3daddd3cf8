"""Control: it looks for work, settles claims and renews leases, but runs no task."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from coworker.child import settle as settling
from coworker.child.body import Body
from coworker.child.claimer import Claimer, DatabaseLostError
from coworker.child.site_clock import SiteClock
from coworker.child.site_probe import SiteProbe
from coworker.child.tokens import issue
from coworker.civi.adapter import AdapterRows
from coworker.civi.fingerprint import CodeDirectory
from coworker.civi.looking import Looker
from coworker.civi.queues import ApiRows, RowStore
from coworker.civi.refusals import is_database_error
from coworker.errors import CallError, ProtocolError, SiteError
from coworker.ipc import messages as m


@dataclass
class Control(Body):
    """The child that serves looks, settlements, inspections, fetches and tokens. Its pipe never logs in."""

    looker: Looker
    claimer: Claimer
    probe: SiteProbe
    adapter: Callable[[], AdapterRows] | None = None  # starts what settles where there is no QueueItem API
    directory: CodeDirectory | None = None  # whose code the pipe has, where that can be seen
    _failed: dict[str, str] = field(default_factory=dict)  # queue → why the last look at it failed

    def serve_order(self, order: Any) -> None:
        """Serve one order. Raises DatabaseLostError when the pipe must be replaced."""
        if isinstance(order, m.Look):
            self._look(order)
        elif isinstance(order, m.Settle):
            self._settle(order, settling.settle)
        elif isinstance(order, m.Search):
            self._settle(order, settling.search)
        elif isinstance(order, m.Inspect):
            self._inspect(order)
        elif isinstance(order, m.Fetch):
            self._fetch(order)
        elif isinstance(order, m.IssueToken):
            self._issue_token(order)

    def wait_idly(self) -> None:
        """Wait until something happens, and now and then observe the state of the site."""
        self.poller.wait(self.probe.seconds())
        if self.probe.seconds():
            return
        state = self.probe.observe()
        if self.directory is not None and self.directory.has_moved:
            self.link.report(m.CodeMoved(str(self.directory.path)))
            self.directory = None  # once: our successor looks further
        if state is not None:
            self.link.report(state)

    @property
    def gives_back(self) -> bool:
        """Whether rows can be read and given back."""
        return self.looker.has_queue_item or self.adapter is not None

    @contextmanager
    def _rows(self) -> Iterator[RowStore]:
        """What reads and writes rows. The adapter is ended at once; trouble with it is not the pipe's."""
        if self.looker.has_queue_item or self.adapter is None:
            yield ApiRows(self.client)
            return
        adapter = None
        try:
            adapter = self.adapter()
            yield adapter
        except CallError:
            raise
        except SiteError as error:
            raise CallError(f"the adapter: {error}") from error
        finally:
            if adapter is not None:
                adapter.close()

    def _look(self, order: m.Look) -> None:
        self.looker.browser_runs.trust(order.known)
        try:
            found, seconds = self.looker.look(order.skip)
        except CallError as error:
            self._unless_lost(error, "looking for work")
            self.link.post(m.LookFailed(str(error)))
            return
        for queue, reason in self.looker.failed.items():
            if self._failed.get(queue) != reason:
                self.link.post(m.Note("warning", "look_failed", {"queue": queue, "reason": reason}))
        self._failed = dict(self.looker.failed)
        count = len(found)
        self.title.say(f"{count} queue{'' if count == 1 else 's'} with work" if count else "")
        with_rows = self.looker.with_rows
        rowless = [] if with_rows is None else [name for name in order.remembered if name not in with_rows]
        self.link.post(m.WorkFound(found, round(seconds, 6), rowless))

    def _settle(self, order: Any, end: Callable[[RowStore, Any, SiteClock], list[list[str]]]) -> None:
        if not self.gives_back:
            reason = "this CiviCRM has no QueueItem API (since 6.4), and its pipe is not MINIPIPE"
            self.link.post(m.SettleFailed(order.ref, reason, final=True))
            return
        self._report_rows(
            lambda store: m.Settled(order.ref, end(store, order, self.probe.clock)),
            lambda why, final: m.SettleFailed(order.ref, why, final),
            f"settling a claim of {order.info.name}",
        )

    def _inspect(self, order: m.Inspect) -> None:
        self._report_rows(
            lambda store: settling.inspect(store, order, self.probe.clock),
            lambda why, _final: m.InspectFailed(order.claim, why),
            f"renewing leases of {order.info.name}",
        )

    def _report_rows(
        self, judge: Callable[[RowStore], m.Report], failed: Callable[[str, bool], m.Report], doing: str
    ) -> None:
        """Report what `judge` makes of the rows, or what `failed` makes of (why, whether that is final)."""
        try:
            with self._rows() as store:
                seen = judge(store)
            self.link.post(seen)
        except CallError as error:
            self.link.post(failed(str(error), False))
            self._unless_lost(error, doing)
        except (ProtocolError, ValueError, TypeError) as error:
            if self.client.pipe.condemned:
                raise
            # Rows that make no sense to us must not bring down one control after another.
            self.link.post(failed(f"cannot be judged: {error}", True))

    def _fetch(self, order: m.Fetch) -> None:
        """Claim for workers that cannot; the master says which of them runs what."""
        queue = order.info.name
        asked_at = round(time.monotonic(), 6)
        self.claimer.journal.next_order()
        items = self.claimer.claim(order.info, asked_at)
        if items:
            claim = self.claimer.claimed(queue, items, asked_at, [])
            self.link.post(m.HandedOff(claim, [item.id for item in items]))
        self.link.post(m.Fetched(queue, bool(items), failed=items is None))

    def _issue_token(self, order: m.IssueToken) -> None:
        """Make a credential that lasts a few minutes, where the site can (from 5.63 on, contract B)."""
        credential, error = "", ""
        try:
            credential = issue(self.client, order.contact)
        except CallError as refused:
            self._unless_lost(refused, "making a token")
            error = str(refused)
        self.link.post(m.TokenIssued(order.worker, order.contact, credential, error))

    def _unless_lost(self, error: CallError, doing: str) -> None:
        """Go on, unless the database is lost: then the pipe must be replaced."""
        if is_database_error(str(error)):
            self.link.flush()
            raise DatabaseLostError(f"{doing}: {error}") from error
