"""The port through which a site's decisions act: fork, send, signal, wait, log. Tests give a fake."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Protocol

from coworker.config.settings import SiteSettings
from coworker.ipc.messages import Order
from coworker.log import EventLog
from coworker.master.children import ReportSink
from coworker.master.timers import Timers
from coworker.model import WorkerRecord


class Effects(Protocol):
    """The master, as its sites see it."""

    timers: Timers
    rng: Random
    log: EventLog
    log_looking: bool
    claims: Path  # the directory of journals

    def next_id(self) -> int:
        """A number that no child had before."""

    def spawn(self, record: WorkerRecord, settings: SiteSettings, sink: ReportSink) -> int:
        """Fork the child of this record, and have `sink` told of it. Returns its pid. Raises OSError."""

    def send(self, record: WorkerRecord, order: Order) -> None:
        """Never blocks; to a child that is gone it does nothing."""

    def signal(self, record: WorkerRecord, number: int) -> None:
        """Signal the child itself, not its pipe."""
