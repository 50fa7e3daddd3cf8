"""What control and workers have in common: one pipe, one link to the master, orders served one by one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import setproctitle

from coworker.child.output import Output
from coworker.civi.connection import SiteClient
from coworker.errors import PipeGoneError
from coworker.ipc.link import ChildLink
from coworker.ipc.messages import Retire
from coworker.model import Identity
from coworker.unix.poller import Poller

COUNT_INTERVAL = 1.0  # seconds between changes of the title that only count


class Title:
    """The title, `coworker: worker 1 example  system   import/12 (37 done)`. Written only on change."""

    def __init__(self, name: str) -> None:
        self._name = name  # "worker 1 example"
        self._shown = ""
        self._where = ""
        self._counted_at = 0.0

    def show(self, identity: Identity | None, queue: str | None, done: int) -> None:
        who = f"  {identity}" if identity is not None else ""
        self._where = f"coworker: {self._name}{who}" + (f"   {queue}" if queue else "")
        self._write(f"{self._where} ({done} done)" if done else self._where)

    def count(self, done: int) -> None:
        """Only the number changed: not worth more than one write a second."""
        now = time.monotonic()
        if now - self._counted_at >= COUNT_INTERVAL:
            self._counted_at = now
            self._write(f"{self._where} ({done} done)")

    def say(self, text: str) -> None:
        """The name and a text of one's own."""
        self._write(f"coworker: {self._name}  {text}" if text else f"coworker: {self._name}")

    def _write(self, title: str) -> None:
        if title != self._shown:
            self._shown = title
            setproctitle.setproctitle(title)


@dataclass
class Body:
    """`id` is the record's; `call_timeout` (seconds) is for every call but those that run tasks."""

    id: int
    link: ChildLink
    poller: Poller
    client: SiteClient
    call_timeout: float
    title: Title

    def __post_init__(self) -> None:
        self.output = Output(self.client, self.link)

    def serve(self) -> str:
        """Serve orders until one says retire; returns its reason. Raises what the pipe or the link raise."""
        while True:
            self.link.flush()
            while not self.link.inbox:
                self.wait_idly()
                if self.client.pipe.gone:
                    raise PipeGoneError("the pipe ended while it had nothing to do")
            order = self.link.inbox.popleft()
            if isinstance(order, Retire):
                if all(isinstance(other, Retire) for other in self.link.inbox):
                    self.link.flush()
                    return order.reason
                self.link.inbox.append(order)  # handed items that are under way to us come first
            else:
                self.serve_order(order)

    def wait_idly(self) -> None:
        """Until something happens."""
        self.poller.wait(None)

    def serve_order(self, order: Any) -> None:
        raise NotImplementedError
