"""What control and workers have in common: one pipe, one link to the master, orders served one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from coworker.child.child import Title
from coworker.child.output import Output
from coworker.civi.connection import SiteClient
from coworker.errors import PipeGoneError, SiteError
from coworker.ipc.link import ChildLink
from coworker.ipc.messages import ClaimFailed, Retire
from coworker.unix.poller import Poller


@dataclass
class Body:
    """A child that serves orders. `call_timeout` (seconds) is for every call but those that run tasks."""

    id: int  # its record's
    link: ChildLink
    poller: Poller
    client: SiteClient
    call_timeout: float
    title: Title

    def __post_init__(self) -> None:
        self.output = Output(self.client, self.link)

    def serve(self) -> str:
        """Serve orders until one says retire; returns its reason. Raises what the pipe or the link raises."""
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
                self.link.inbox.append(order)  # handed items that are on their way to us come first
            else:
                self._try_to_serve(order)

    def _try_to_serve(self, order: Any) -> None:
        """Serve an order; what nobody expected ends this child, and the order's queue backs off for it."""
        try:
            self.serve_order(order)
        except SiteError:
            raise
        except Exception as error:
            if (info := getattr(order, "info", None)) is not None:
                self.link.post(ClaimFailed(info.name, f"{type(error).__name__}: {error}"))
            raise

    def wait_idly(self) -> None:
        """Wait until something happens."""
        self.poller.wait(None)

    def serve_order(self, order: Any) -> None:
        raise NotImplementedError
