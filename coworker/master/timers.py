"""What the master waits for besides descriptors: named points in time."""

from __future__ import annotations

from collections.abc import Hashable
from math import inf


class Timers:
    """Deadlines by key, in monotonic seconds. Setting one is cheap: it happens twice a batch.

    `next_at` is a lower bound: after a deadline was moved back the loop may wake once for nothing.
    """

    def __init__(self) -> None:
        self._when: dict[Hashable, float] = {}
        self.next_at = inf

    def set(self, key: Hashable, when: float) -> None:
        self._when[key] = when
        self.next_at = min(self.next_at, when)

    def cancel(self, key: Hashable) -> None:
        self._when.pop(key, None)

    def due(self, now: float) -> list[Hashable]:
        """The keys whose time has come, earliest first; they are forgotten."""
        if now < self.next_at:
            return []
        due = sorted(
            (when, index, key) for index, (key, when) in enumerate(self._when.items()) if when <= now
        )
        for _, _, key in due:
            del self._when[key]
        self.next_at = min(self._when.values(), default=inf)
        return [key for _, _, key in due]
