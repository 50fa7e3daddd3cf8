"""The body of control: it looks for work and settles claims, and runs no task."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field
from typing import Any

from coworker.civi.outcome import is_database_error
from coworker.civi.queues import Looker
from coworker.errors import CallError, ProtocolError
from coworker.tasks import settling
from coworker.tasks.body import Body
from coworker.tasks.working import DatabaseLostError
from coworker.wire.messages import Look, LookFailed, Note, Seen, Settle, Settled, SettleFailed


@dataclass
class Control(Body):
    """Serves `look` and `settle` orders. Its pipe never logs in."""

    looker: Looker
    _failed: dict[str, str] = field(default_factory=dict)  # queue → why the last look at it failed

    def serve_order(self, order: Any) -> None:
        """Raises DatabaseLostError: the pipe must be replaced."""
        if isinstance(order, Look):
            self._look(order)
        elif isinstance(order, Settle):
            self._settle(order)

    def _look(self, order: Look) -> None:
        try:
            found, seconds = self.looker.look(order.skip)
        except CallError as error:
            if is_database_error(str(error)):
                raise DatabaseLostError(f"looking for work: {error}") from error
            self.link.post(LookFailed(str(error)))
            return
        for queue, reason in self.looker.failed.items():
            if self._failed.get(queue) != reason:
                self.link.post(Note("warning", "look_failed", {"queue": queue, "reason": reason}))
        self._failed = dict(self.looker.failed)
        count = len(found)
        self.title.say(f"{count} queue{'' if count == 1 else 's'} with work" if count else "")
        self.link.post(Seen([list(astuple(queue)) for queue in found], round(seconds, 6)))

    def _settle(self, order: Settle) -> None:
        try:
            if not self.looker.has_queue_item:
                reason = "this CiviCRM has no QueueItem API (since 6.4)"
                self.link.post(SettleFailed(order.ref, reason, final=True))
                return
            self.link.post(Settled(order.ref, settling.settle(self.client, order)))
        except CallError as error:
            self.link.post(SettleFailed(order.ref, str(error), final=False))
            if is_database_error(str(error)):
                self.link.flush()
                raise DatabaseLostError(f"settling a claim of {order.queue}: {error}") from error
        except (ProtocolError, ValueError, TypeError) as error:
            if self.client.pipe.condemned:
                raise
            # Rows that make no sense to us must not bring down one control after another.
            self.link.post(SettleFailed(order.ref, f"cannot be judged: {error}", final=True))
