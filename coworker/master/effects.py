"""The port through which a site's decisions act: fork, send, signal, wait, log. Tests give a fake."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random
from typing import Protocol

from coworker.child import child, site_child
from coworker.config.settings import SiteSettings
from coworker.ipc.messages import Order
from coworker.log import EventLog
from coworker.master.children import Children, ReportSink
from coworker.master.timers import Timers
from coworker.model import WorkerRecord


class Effects(Protocol):
    """What a site asks of the master. Processes of pipes it kills itself (`pipe_groups`, `deadlines`)."""

    timers: Timers
    rng: Random
    log: EventLog
    log_looking: bool
    claims: Path  # the directory of journals

    def next_id(self) -> int:
        """Give a number that no child had before."""

    def spawn(self, record: WorkerRecord, settings: SiteSettings, sink: ReportSink) -> int:
        """Fork the child of this record, and have `sink` told of it. Returns its pid. Raises OSError."""

    def send(self, record: WorkerRecord, order: Order) -> None:
        """Send without blocking; a child that is gone gets nothing."""

    def signal(self, record: WorkerRecord, number: int) -> None:
        """Signal the child itself, not its pipe."""


class ProcessEffects:
    """The real effects, on processes, sockets and the clock. `claims` is the directory of journals."""

    def __init__(self, children: Children, timers: Timers, log: EventLog, claims: Path) -> None:
        self.timers = timers
        self.rng = Random()  # noqa: S311 - for jitter, not for secrets
        self.log = log
        self.log_looking = False
        self.claims = claims
        self._children = children
        self._last_id = 0

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def spawn(self, record: WorkerRecord, settings: SiteSettings, sink: ReportSink) -> int:
        domain = record.boot_domain
        birth = site_child.Birth(record.id, record.slot, record.role, settings, self.claims, domain)
        body = partial(child.run, birth.name, partial(site_child.live, birth))
        return self._children.start(body, sink, record)

    def send(self, record: WorkerRecord, order: Order) -> None:
        self._children.send(record.life.pid, order)

    def signal(self, record: WorkerRecord, number: int) -> None:
        self._children.signal(record.life.pid, number)
