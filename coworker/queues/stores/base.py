"""What a queue store can do. The queue rules live in `service`; a store keeps rows and hands them out
atomically.

Times are seconds since the epoch, ids are integers. Every method raises StoreError when the store cannot be
used, and leaves nothing half done: one method, one transaction.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from coworker.civiserver.fields import Entity, Row
from coworker.civiserver.query import Query

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
        """Type `Sql` looks only at its head item (contract A4)."""
        return self.type == "Sql"


class StoredItem(NamedTuple):
    """An item as a claim or a fetch hands it out. `data` is its JSON text; `run_count` counts this claim."""

    id: int
    data: str | None
    run_count: int


class Statistics(NamedTuple):
    """Counts of a queue's items. Ready here includes those whose release_time is this second."""

    ready: int
    blocked: int
    total: int


class Contact(NamedTuple):
    """Somebody a pipe can log in as. Without a user there are no permissions."""

    id: int
    user_id: int | None
    is_blocked: bool


class Store(ABC):
    """One connection to the rows. Not for threads; other processes may use the same rows at the same time."""

    def __init__(self, clock_offset: float = 0.0) -> None:
        self.clock_offset = clock_offset

    def now(self) -> int:
        """The site's clock, whole seconds."""
        return int(time.time() + self.clock_offset)

    # rows, for the API's get, create, update, delete

    @abstractmethod
    def find(self, query: Query) -> list[Row]:
        """The rows of a query, in the API's shape."""

    @abstractmethod
    def insert(self, entity: Entity, rows: Sequence[Row]) -> list[int]:
        """Add rows (in the store's shape), all or none. Their ids, in the same order."""

    @abstractmethod
    def update(self, entity: Entity, row_id: int, values: Row) -> None:
        """Change one row by its id; no such row is no error."""

    @abstractmethod
    def delete(self, entity: Entity, ids: Sequence[int]) -> None:
        """Remove rows by id; those that are gone already are no error."""

    # queues

    @abstractmethod
    def queue(self, name: str) -> QueueSpec | None:
        """The settings of one queue, None if there is no such queue."""

    @abstractmethod
    def queue_state(self, name: str, domain: int) -> tuple[str | None, bool]:
        """Always fresh: the queue's status (None also when it is gone), and whether the domain pauses its
        queues.
        """

    @abstractmethod
    def set_status(self, name: str, status: str) -> None:
        """Change a queue's status."""

    # items

    @abstractmethod
    def claim(self, queue: QueueSpec, limit: int) -> list[StoredItem]:
        """Lease up to `limit` free items, in order of weight and id, and count a try for each. Atomic.

        Free is an item whose release_time is NULL or *before* this second. A linear queue gives its head or
        nothing.
        """

    @abstractmethod
    def fetch(self, queue: str, ids: Sequence[int]) -> list[StoredItem]:
        """Items by id, in order of id, whoever has leased them. Those that are gone are left out."""

    @abstractmethod
    def remove(self, queue: str, item_id: int) -> None:
        """An item has ended."""

    @abstractmethod
    def release(self, queue: str, item_id: int, release_time: int | None) -> None:
        """End a lease: the item is free from release_time on, None for at once."""

    @abstractmethod
    def relinquish(self, queue: str, ids: Sequence[int], release_time: int | None) -> None:
        """Give items back that were not attempted: end their leases and take the tries back."""

    @abstractmethod
    def statistics(self, queue: str) -> Statistics:
        """How many items are ready, blocked and there at all."""

    @abstractmethod
    def reset(self, queue: str) -> int:
        """Remove every item of a queue. How many there were."""

    # the rest of the site

    @abstractmethod
    def contact(self, *, contact_id: int | None = None, user_id: int | None = None) -> Contact | None:
        """A contact by its own id or by its user's."""

    @abstractmethod
    def settings(self, domain: int) -> dict[str, Any]:
        """The settings of a domain that were ever set."""

    @abstractmethod
    def set_setting(self, domain: int, name: str, value: Any) -> None:
        """Set one setting of a domain."""

    def check(self) -> None:  # noqa: B027
        """Raise StoreError if the connection is known to be lost. Called before each API call, so it must be
        quick.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the rows."""
