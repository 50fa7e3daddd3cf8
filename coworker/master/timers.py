"""What the master waits for besides descriptors: points in time, each with what is to be done then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
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

    def delay(self, kinds: Collection[str], seconds: float) -> None:
        """Do everything later whose key is of these kinds: a text, or the first part of a tuple."""
        for key, (when, action) in self._when.items():
            if (key[0] if isinstance(key, tuple) else key) in kinds:
                self._when[key] = when + seconds, action

    def run(self, now: float) -> None:
        """Do everything whose time has come, the earliest first."""
        if now < self.next_at:
            return
        due = [key for key, (when, _) in self._when.items() if when <= now]
        due.sort(key=lambda key: self._when[key][0])
        actions = [self._when.pop(key)[1] for key in due]
        self.next_at = min((when for when, _ in self._when.values()), default=inf)
        for action in actions:
            action(now)
