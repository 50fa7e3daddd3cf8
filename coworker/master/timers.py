"""What the master waits for besides descriptors: points in time, each with what is to be done then."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf

Action = Callable[[float], object]  # it is given the time, in monotonic seconds


class Timers:
    """Actions by key, at monotonic seconds. Setting one is cheap, for it happens twice in each batch.

    `next_at` may be early: when a timer was moved back, the loop may wake once for nothing.
    """

    def __init__(self) -> None:
        self._when: dict[Hashable, tuple[float, Action]] = {}
        self.next_at = inf

    def set(self, key: Hashable, when: float, action: Action) -> None:
        """Do this at that time; any other action of this key is forgotten."""
        self._when[key] = when, action
        self.next_at = min(self.next_at, when)

    def cancel(self, key: Hashable) -> None:
        """Forget the action of this key."""
        self._when.pop(key, None)

    def run(self, now: float) -> None:
        """Do everything whose time has come, the earliest first."""
        for action in self._take_due(now):
            action(now)

    def _take_due(self, now: float) -> list[Action]:
        if now < self.next_at:
            return []
        due = sorted(
            (when, index, key) for index, (key, (when, _)) in enumerate(self._when.items()) if when <= now
        )
        actions = [self._when.pop(key)[1] for _, _, key in due]
        self.next_at = min((when for when, _ in self._when.values()), default=inf)
        return actions
