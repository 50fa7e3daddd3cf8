"""Which queue a free worker works next: weighted round-robin with limits.

A QueueState is a value: what happens to a queue makes a new one. `master.queue_states` keeps them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from coworker.config.settings import NO_TOTAL, Total
from coworker.model import Identity, QueueInfo

_DIGITS = re.compile(r"\d+")


class QueueState(NamedTuple):
    """What the master knows of one queue with work. Times are monotonic seconds.

    `virtual_time`: each slice moves it on by 1/weight, and the queue with the lowest is next. `demand`: for
    how many more workers there is work, as far as a look or full batches have proved it.
    """

    info: QueueInfo
    weight: int = 1
    concurrency: int = 0  # 0: no limit
    total: Total = NO_TOTAL  # the limit that it shares with the other queues of a pattern
    virtual_time: float = 0.0
    demand: int = 1
    working: int = 0  # workers that have an order for it
    retry_at: float = 0.0  # no claim before, after claims that failed or came back empty
    failures: int = 0  # claims, and runs of a whole batch, that failed in a row
    failure: str = ""
    seen: bool = False  # a look has seen work since the last claim that gave some
    empty: int = 0  # orders in a row that found nothing although a look had seen work
    handed: int = 0  # items of it that wait for a worker of their identity
    last_identity: Identity | None = None
    progress_at: float = 0.0  # the last batch that was not empty
    unserved_since: float = 0.0  # since when it could have a worker and no free one fits; 0: served

    @property
    def limit(self) -> int:
        """How many workers it may have; 0: no limit."""
        return 1 if self.info.linear else self.concurrency

    @property
    def full(self) -> bool:
        """Whether it has as many workers as it may by itself; see `at_total` for what it shares."""
        return bool(self.limit) and self.working >= self.limit

    def fails_as(self, message: str) -> bool:
        """Whether it failed like this the last time, and has not run since; numbers may differ."""
        return bool(self.failures) and _DIGITS.sub("", self.failure) == _DIGITS.sub("", message)

    def assignable(self, now: float) -> bool:
        """Whether one more worker may be told to work it, as far as its own limit goes."""
        return bool(self.demand) and self.open(now)

    def open(self, now: float) -> bool:
        """The same as far as demand is not the question."""
        return not self.handed and now >= self.retry_at and not self.full


def found(state: QueueState, info: QueueInfo, clock: float) -> QueueState:
    """The state after a look saw work. A queue that had nothing to do gains no credit for that time."""
    if state.demand:
        return state._replace(info=info, seen=True)
    later = max(state.virtual_time, clock)
    return state._replace(info=info, seen=True, demand=1, virtual_time=later)


def claimed(state: QueueState, demand: int, identity: Identity, now: float) -> QueueState:
    """The state after a batch, its first item for `identity`, was claimed. It may still prove unrunnable.

    It is spelled out because it is made for each batch: `_replace` takes several times as long.
    """
    info, weight, concurrency, total, virtual_time, _, working, retry_at, failures, failure, *_, since = state
    return QueueState(
        info, weight, concurrency, total, virtual_time, demand, working, retry_at, failures, failure,
        False, 0, state.handed, identity, now, since,
    )  # fmt: skip


def proved(state: QueueState, items: int) -> int:
    """The demand after a batch of so many items: a full one proves that there is work for one more."""
    return state.demand + (items >= state.info.batch_limit)


def begun(state: QueueState) -> QueueState:
    """The state after an order was given: its next turn comes later, the old one is the scheduler's clock."""
    return state._replace(
        virtual_time=state.virtual_time + 1.0 / state.weight,
        working=state.working + 1,
        demand=state.demand - 1,
        unserved_since=0.0,
    )


def at_total(queues: Iterable[QueueState]) -> frozenset[str]:
    """The patterns whose queues have as many workers together as they may."""
    working = Counter[Total]()
    for queue in queues:
        if queue.total.limit:
            working[queue.total] += queue.working
    return frozenset(total.pattern for total, workers in working.items() if workers >= total.limit)


def pick(
    queues: Collection[QueueState], now: float, served: Callable[[QueueState], bool] = lambda _queue: True
) -> QueueState | None:
    """The queue whose turn it is; among equals the one with fewer workers.

    `served` says whether a free worker fits a queue; one that nobody fits is passed over.
    """
    best: QueueState | None = None
    full = at_total(queues)
    for queue in queues:
        if (
            queue.assignable(now)
            and queue.total.pattern not in full
            and (best is None or (queue.virtual_time, queue.working) < (best.virtual_time, best.working))
            and served(queue)
        ):
            best = queue
    return best
