"""The port through which a site's decisions act: fork, send, signal, wait, log. Tests give a fake."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from coworker.child import child, site_child
from coworker.civi import opcache
from coworker.config.settings import SiteSettings
from coworker.ipc.messages import Order
from coworker.log import EventLog
from coworker.master.children import Children, ReportSink
from coworker.master.timers import Timers
from coworker.model import WorkerRecord


@dataclass
class Effects:
    """What a site has the master do. Processes of pipes it kills itself (`pipe_groups`, `deadlines`)."""

    children: Children
    timers: Timers
    log: EventLog
    claims: Path  # the directory of journals
    log_looking: bool
    rng: Random = field(default_factory=Random)
    _last_id: int = 0

    def next_id(self) -> int:
        """Give a number that no child had before."""
        self._last_id += 1
        return self._last_id

    def spawn(self, record: WorkerRecord, settings: SiteSettings, sink: ReportSink) -> int:
        """Fork the child of this record, and have `sink` told of it. Returns its pid. Raises OSError."""
        domain = record.boot_domain
        who, cache = (record.id, record.slot, record.role), self.claims.with_name(opcache.DIRECTORY)
        birth = site_child.Birth(*who, settings, self.claims, domain, record.token, cache)
        body = partial(child.run, birth.name, partial(site_child.live, birth))
        return self.children.start(body, sink, record)

    def send(self, record: WorkerRecord, order: Order) -> None:
        """Send without blocking; a child that is gone gets nothing."""
        self.children.send(record.life.pid, order)

    def signal(self, record: WorkerRecord, number: int) -> None:
        """Signal the child itself, not its pipe."""
        self.children.signal(record.life.pid, number)
