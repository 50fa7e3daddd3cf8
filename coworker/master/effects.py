"""What a site asks of the master: the effects, apart from the decisions. Tests give a fake."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from coworker.config.settings import SiteSettings
from coworker.ipc.messages import Order
from coworker.master.timers import Timers
from coworker.model import WorkerRecord

if TYPE_CHECKING:
    from coworker.master.site import Site


class Effects(Protocol):
    """The master, as its sites see it."""

    timers: Timers
    rng: Random
    log_looking: bool
    claims: Path  # the directory of journals

    def next_id(self) -> int:
        """A number that no child had before."""

    def spawn(self, site: Site, record: WorkerRecord, settings: SiteSettings) -> None:
        """Fork the child of this record, set its pid, and tell `site` what it says. Raises OSError."""

    def send(self, record: WorkerRecord, order: Order) -> None:
        """Never blocks; to a child that is gone it does nothing."""

    def signal(self, record: WorkerRecord, number: int) -> None:
        """Signal the child itself, not its pipe."""

    def wants(self, level: str) -> bool:
        """Whether the log shows this level."""

    def log(self, level: str, event: str, /, **fields: Any) -> None:
        """Write to the log."""
