"""How many workers each item brought down; at `crash_limit` it is not called again (rule 15)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

REMEMBERED = 7 * 86_400  # seconds: whoever else ran the item since does not tell us


class Crashes(NamedTuple):
    """How many workers an item brought down, and when last (wall clock, seconds: it outlives a restart)."""

    times: int
    at: float


SPARED = 2  # deaths in a row by a signal that an item is not blamed for


class SparedDeaths:
    """How often in a row the pipe of an item died of a signal hardly meant for it (rule 5).

    Whoever signals all processes of the daemon means the daemon. But a task may signal itself, or be shot by
    a watchdog each time: so the third such death counts. Only in memory: a daemon that starts counts anew.
    """

    def __init__(self) -> None:
        self._deaths: dict[tuple[str, str], int] = {}

    def unspared(self, queue: str, ids: Iterable[str]) -> list[str]:
        """Those that have been spared often enough."""
        return [each for each in ids if self._deaths.get((queue, each), 0) >= SPARED]

    def count(self, queue: str, item: str) -> None:
        """It was spared once more."""
        self._deaths[queue, item] = self._deaths.get((queue, item), 0) + 1

    def forget(self, queue: str, ids: Iterable[str]) -> None:
        """These ended, or died of something else."""
        if self._deaths:
            for each in ids:
                self._deaths.pop((queue, each), None)


class CrashCounts:
    """The counts of one site. `changed` is true until they have been saved."""

    def __init__(self, values: dict[str, dict[str, list[Any]]] | None = None) -> None:
        """Begin with what `values()` gave. Raises what garbage raises."""
        self.changed = False
        self._crashes = {
            queue: {str(item): Crashes(int(count), float(at)) for item, (count, at) in items.items()}
            for queue, items in (values or {}).items()
        }

    def __bool__(self) -> bool:
        return bool(self._crashes)

    def values(self) -> dict[str, dict[str, list[Any]]]:
        """The counts as {queue: {item: [count, at]}}, for a file."""
        return {queue: {item: list(c) for item, c in items.items()} for queue, items in self._crashes.items()}

    def queues(self) -> list[str]:
        """The queues that have items with a count."""
        return list(self._crashes)

    def forget_queues(self, queues: Iterable[str]) -> None:
        """Forget the items of these queues, which have no rows any more."""
        for queue in queues:
            self.changed = self._crashes.pop(queue, None) is not None or self.changed

    def would_be(self, queue: str, ids: Iterable[str], limit: int) -> list[str]:
        """The ids of those items that must not bring down one worker more."""
        items = self._crashes.get(queue, {})
        return [each for each in ids if (items[each].times if each in items else 0) + 1 >= limit]

    def count(self, queue: str, item: str) -> int:
        """Count one more worker that the item brought down. Returns how many by now."""
        now = time.time()
        items = self._crashes.setdefault(queue, {})
        for old in [each for each, crashes in items.items() if crashes.at < now - REMEMBERED]:
            del items[old]
        items[item] = Crashes(items[item].times + 1 if item in items else 1, round(now, 3))
        self.changed = True
        return items[item].times

    def forget(self, queue: str, ids: Iterable[str]) -> None:
        """Forget these items: they ended without bringing down a worker."""
        items = self._crashes.get(queue, {})
        for each in ids:
            self.changed = items.pop(each, None) is not None or self.changed
        if not items:
            self._crashes.pop(queue, None)
