"""Which queue a free worker works next: weighted round-robin with limits (design, section 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from coworker.model import Identity, QueueInfo


@dataclass(slots=True)
class QueueState:
    """What the master knows of one queue with work. Times are monotonic seconds.

    `virtual_time` is the queue's virtual time: each slice moves it on by 1/weight, and the lowest is next.
    `demand`: for how many more workers there is work, as far as a look or full batches have proved it.
    """

    info: QueueInfo
    weight: int = 1
    concurrency: int = 0  # 0: no limit
    virtual_time: float = 0.0
    demand: int = 1
    working: int = 0  # orders out
    retry_at: float = 0.0  # not before, after claims that failed or came back empty
    failures: int = 0  # claims in a row that the site refused
    failure: str = ""
    seen: bool = False  # a look has seen work since the last claim that gave some
    empty: int = 0  # orders in a row that found nothing although a look had seen work
    handed: int = 0  # items of it that wait for a worker of their identity
    last_identity: Identity | None = None
    progress_at: float = 0.0  # the last batch that was not empty
    unserved_since: float = 0.0  # assignable, but no free worker fits; 0: served

    @property
    def limit(self) -> int:
        """Workers at most; 0: no limit."""
        return 1 if self.info.linear else self.concurrency

    def assignable(self, now: float) -> bool:
        if not self.demand or self.handed or now < self.retry_at:
            return False
        return not self.limit or self.working < self.limit

    def enter(self, clock: float) -> None:
        """A queue that had nothing to do gains no credit for that time."""
        self.virtual_time = max(self.virtual_time, clock)

    def took(self, items: int, now: float) -> None:
        """A batch was claimed: a full one proves there is more."""
        self.seen = False
        self.empty = 0
        self.failures = 0
        self.failure = ""
        self.progress_at = now
        if items >= self.info.batch_limit:
            self.demand += 1


def pick(
    queues: Iterable[QueueState], now: float, served: Callable[[QueueState], bool] = lambda _queue: True
) -> QueueState | None:
    """The queue whose turn it is; between equals the one with fewer workers.

    `served` says whether a free worker fits it: a queue whose items were last of another is passed over.
    """
    best: QueueState | None = None
    for queue in queues:
        if (
            queue.assignable(now)
            and (best is None or (queue.virtual_time, queue.working) < (best.virtual_time, best.working))
            and served(queue)
        ):
            best = queue
    return best


def begin(queue: QueueState) -> float:
    """An order for `queue` goes out: its next turn comes later. Returns the scheduler's clock."""
    clock = queue.virtual_time
    queue.virtual_time += 1.0 / queue.weight
    queue.working += 1
    queue.demand -= 1
    queue.unserved_since = 0.0
    return clock
