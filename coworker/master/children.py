"""Children of the master: forked, heard and reaped here, whatever they are for.

They are forked, not exec'ed, and share the master's pages. Each has a socket pair, and its pid is its key.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, NamedTuple, Protocol

from coworker.errors import IllegalMoveError, ProtocolError
from coworker.ipc.link import Link
from coworker.ipc.messages import Order
from coworker.master.timers import Timers
from coworker.model import ExitStatus
from coworker.unix import children
from coworker.unix.poller import Poller
from coworker.unix.signals import SignalInbox, blocked, for_child
from coworker.unix.sockets import Channel

# "Retire", and the end of orphans of its pipe; the rest of the master's signals are not for children.
CHILD_SIGNALS = (signal.SIGTERM, signal.SIGCHLD)
BACKLOG_INTERVAL = 0.05  # seconds between attempts to send to a child that does not read
REAP_INTERVAL = 1.0  # seconds between checks for dead children while one has closed its socket
LAST_READS = 64  # of what a dead child said: more than a socket takes

ChildMain = Callable[[Channel, SignalInbox], None]  # what runs in the child


class ReportSink(Protocol):
    """Who is told of children, by the object that stands for one (`child`). `now` is in monotonic seconds."""

    def heard(self, child: Any, report: Any, now: float) -> None:
        """Take a report of the child. Raises IllegalMoveError for what cannot be."""

    def garbled(self, child: Any, reason: str) -> None:
        """Note that the child said what nobody understands; it is killed for that."""

    def ended(self, child: Any, status: ExitStatus, now: float) -> None:
        """Note that the child has exited; everything that it said has been heard."""


class _Child(NamedTuple):
    link: Link
    sink: ReportSink
    child: Any


class Children:
    """The master's children, each under its pid. `signals` are those that the master handles."""

    def __init__(self, poller: Poller, timers: Timers, signals: Collection[int]) -> None:
        self._poller = poller
        self._timers = timers
        self._signals = signals
        self._children: dict[int, _Child] = {}

    def start(self, main: ChildMain, sink: ReportSink, child: Any) -> int:
        """Fork a child that runs `main`; `sink` is told of it as `child`. Returns its pid. Raises OSError."""
        pid, channel = _fork(main, self._signals)
        self._children[pid] = _Child(Link(channel), sink, child)
        self._poller.register(channel.fileno(), partial(self._on_readable, pid))
        return pid

    def send(self, pid: int, order: Order) -> None:
        """Send without blocking: what the child does not take now is kept. One that is gone gets nothing."""
        if pid in self._children:
            link = self._children[pid].link
            link.send(order)
            if link.channel.pending:
                self._timers.set("backlog", time.monotonic() + BACKLOG_INTERVAL, self._flush_backlog)

    def _flush_backlog(self, now: float) -> None:
        """Try again to send what was kept."""
        channels = [child.link.channel for child in self._children.values()]
        for channel in channels:
            channel.flush()
        if any(channel.pending for channel in channels):
            self._timers.set("backlog", now + BACKLOG_INTERVAL, self._flush_backlog)

    def signal(self, pid: int, number: int) -> None:
        """Signal the child itself, while it has not been reaped: until then its pid is surely its own."""
        if pid in self._children:
            children.signal_process(pid, number)

    def reap(self, _now: float = 0.0) -> None:
        """Take note of every child that ended. Foreign orphans are reaped too, and ignored."""
        for pid, status in children.reap():
            if pid in self._children:
                self._bury(pid, status)

    def _bury(self, pid: int, status: ExitStatus) -> None:
        """Hear what the child said last, then tell its sink that it has ended."""
        link, sink, child = self._children[pid]
        for _ in range(LAST_READS):
            if link.channel.closed:
                break
            self._on_readable(pid)
        self._poller.unregister(link.channel.fileno())
        del self._children[pid]
        link.channel.close()
        sink.ended(child, status, time.monotonic())

    def _on_readable(self, pid: int) -> None:
        link, sink, child = self._children[pid]
        now = time.monotonic()
        try:
            for report in link.receive():
                sink.heard(child, report, now)
        except (ProtocolError, IllegalMoveError) as error:
            sink.garbled(child, str(error))
            self.signal(pid, signal.SIGKILL)
            link.channel.closed = True
        if link.channel.closed:
            self._poller.unregister(link.channel.fileno())
            self._timers.set("reap", now + REAP_INTERVAL, self.reap)


def _fork(main: ChildMain, signals: Collection[int]) -> tuple[int, Channel]:
    """Fork a child that runs `main` and exits. Returns (pid, the master's end of its socket).

    Raises OSError when there is no process or descriptor to be had.
    """
    ours, theirs = socket.socketpair()
    try:
        with blocked(signals):
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if pid == 0:
                _in_child(main, theirs, signals)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return pid, Channel(ours)


def _in_child(main: ChildMain, sock: socket.socket, signals: Collection[int]) -> None:
    """Run `main` and exit. Nothing of the master's is cleaned up here: it is the master's."""
    status = 1
    try:
        # The descriptors of the master and of the other children: a lock or a socket kept here would
        # outlive the master.
        keep = sock.fileno()
        os.closerange(3, keep)
        os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.close(null)
        inbox = for_child(signals, CHILD_SIGNALS)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        main(Channel(sock), inbox)
        status = 0
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(status)
