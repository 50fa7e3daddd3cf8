"""The master's ends of its children's sockets: orders out, reports in, and the dead reaped."""

from __future__ import annotations

import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from coworker.errors import IllegalMoveError, ProtocolError
from coworker.ipc.link import Link
from coworker.ipc.messages import Order
from coworker.master.timers import Timers
from coworker.model import ExitStatus, WorkerRecord
from coworker.unix import children
from coworker.unix.poller import Poller
from coworker.unix.sockets import Channel

if TYPE_CHECKING:
    from coworker.master.site import Site

BACKLOG_INTERVAL = 0.05  # seconds between tries to send to a child that does not read
REAP_INTERVAL = 1.0  # seconds between looks for dead children while one has closed its socket
LAST_READS = 64  # of what a dead child said: more than a socket holds


class Children:
    """By pid. Reports go to `site.reports`, deaths to `site.on_gone`."""

    def __init__(self, poller: Poller, timers: Timers) -> None:
        self._poller = poller
        self._timers = timers
        self._links: dict[int, tuple[Site, WorkerRecord, Link]] = {}

    def add(self, site: Site, record: WorkerRecord, channel: Channel) -> None:
        """Listen to a child just forked."""
        self._links[record.pid] = (site, record, Link(channel))
        self._poller.register(channel.fileno(), partial(self._on_readable, record.pid))

    def send(self, record: WorkerRecord, order: Order) -> None:
        """Never blocks: what the child does not take now is kept. To one that is gone it does nothing."""
        if record.pid in self._links:
            link = self._links[record.pid][2]
            link.send(order)
            if link.channel.pending:
                self._timers.set("backlog", time.monotonic() + BACKLOG_INTERVAL)

    def flush_backlog(self) -> None:
        """Try again to send what was kept."""
        channels = [link.channel for _, _, link in self._links.values()]
        for channel in channels:
            channel.flush()
        if any(channel.pending for channel in channels):
            self._timers.set("backlog", time.monotonic() + BACKLOG_INTERVAL)

    def signal(self, record: WorkerRecord, number: int) -> None:
        """Signal the child itself, while it has not been reaped: its pid is surely still its own."""
        if record.pid in self._links:
            children.signal_process(record.pid, number)

    def reap(self) -> None:
        """Take note of every child that ended. Foreign orphans are reaped too, and ignored."""
        for pid, status in children.reap():
            if pid in self._links:
                self._bury(pid, status)

    def _bury(self, pid: int, status: ExitStatus) -> None:
        """Read what it said last; then it is gone."""
        site, record, link = self._links[pid]
        for _ in range(LAST_READS):
            if link.channel.closed:
                break
            self._on_readable(pid)
        self._poller.unregister(link.channel.fileno())
        del self._links[pid]
        link.channel.close()
        site.on_gone(record, status, time.monotonic())

    def _on_readable(self, pid: int) -> None:
        site, record, link = self._links[pid]
        now = time.monotonic()
        try:
            for report in link.receive():
                site.reports.take(record, report, now)
        except (ProtocolError, IllegalMoveError) as error:
            site.log("critical", "bad_report", record, reason=str(error))
            self.signal(record, signal.SIGKILL)
            link.channel.closed = True
        if link.channel.closed:
            self._poller.unregister(link.channel.fileno())
            self._timers.set("reap", now + REAP_INTERVAL)
