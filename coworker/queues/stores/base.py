"""What a queue store can do: it keeps items and gives them atomically. The rules of queues are not here.

Times are seconds since the epoch, ids are integers. Every method raises StoreError when the store cannot be
used, and leaves nothing half done: one method, one transaction.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

DEFAULT_LEASE_TIME = 3600  # seconds; also for a queue whose lease_time is 0


class QueueSpec(NamedTuple):
    """The settings of a queue that decide how its items are claimed and how they end. Times in seconds."""

    name: str
    type: str
    runner: str | None
    batch_limit: int
    lease_time: int
    retry_limit: int
    retry_interval: int | None
    status: str | None
    error: str | None

    @property
    def linear(self) -> bool:
        """Whether only the head item can be claimed, as of type `Sql` (contract A4)."""
        return self.type == "Sql"


class NewItem(NamedTuple):
    """An item to be added. `data` is its JSON text; it is free from `release_time` on, None for at once."""

    data: str | None
    weight: int = 0
    release_time: int | None = None


class StoredItem(NamedTuple):
    """An item as a claim or a fetch gives it. `data` is its JSON text; `run_count` counts this claim.

    A claim also tells the end of the lease (seconds of the store's clock).
    """

    id: int
    data: str | None
    run_count: int
    release_time: int | None = None


class Statistics(NamedTuple):
    """How many items a queue has. Ready are here also those whose release_time is this second."""

    ready: int
    blocked: int
    total: int


class Abilities(NamedTuple):
    """What a store may be unable to do: to count the items of a queue, and to give them in order."""

    statistics: bool = True
    order: bool = True


class QueueStore(ABC):
    """One connection to the queues. Not for threads; other processes may use them at the same time."""

    abilities = Abilities()

    def __init__(self, clock_offset: float = 0.0) -> None:
        self.clock_offset = clock_offset

    def now(self) -> int:
        """Return the store's clock, in whole seconds."""
        return int(time.time() + self.clock_offset)

    def check(self) -> None:  # noqa: B027
        """Raise StoreError if the connection is known to be lost. Called often, so it must be quick."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the queues."""

    # queues

    @abstractmethod
    def queue(self, name: str) -> QueueSpec | None:
        """Return the settings of one queue, None if there is no such queue."""

    @abstractmethod
    def status(self, name: str) -> str | None:
        """Return a queue's status, always fresh; None also when the queue is gone."""

    @abstractmethod
    def set_status(self, name: str, status: str) -> None:
        """Change a queue's status."""

    # items

    @abstractmethod
    def push(self, queue: str, items: Sequence[NewItem]) -> list[int]:
        """Add items, all or none, and return their ids in the same order."""

    @abstractmethod
    def claim(self, queue: QueueSpec, limit: int) -> list[StoredItem]:
        """Lease up to `limit` free items, in order of weight and id, and count a try for each. Atomic.

        Free is an item whose release_time is NULL or *before* this second. A linear queue gives its head or
        nothing.
        """

    @abstractmethod
    def fetch(self, queue: str, ids: Sequence[int]) -> list[StoredItem]:
        """Return items by id, in order of id, whoever has leased them. Those that are gone are left out."""

    @abstractmethod
    def remove(self, queue: str, item_id: int) -> None:
        """Remove an item that has ended."""

    @abstractmethod
    def release(self, queue: str, item_id: int, release_time: int | None) -> None:
        """End a lease: the item is free from release_time on, None for at once."""

    @abstractmethod
    def relinquish(self, queue: str, ids: Sequence[int], release_time: int | None) -> None:
        """Give items back that were not begun: end their leases and restore their tries."""

    @abstractmethod
    def statistics(self, queue: str) -> Statistics:
        """Count the items that are ready, blocked and there at all."""

    @abstractmethod
    def reset(self, queue: str) -> int:
        """Remove every item of a queue, and return how many there were."""
