"""The demo's site: a store in a file, its queues, contacts and tasks, and what is left in it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from coworker.civiserver.fields import CONTACT, QUEUE_ITEM
from coworker.civiserver.query import parse_query
from coworker.civiserver.service import QueueService
from coworker.civiserver.site_store import open_site
from coworker.demo.plan import CONTACTS, Expected, QueuePlan
from coworker.queues.task import Task


class DemoSite:
    """The site of the demo, and what must become of its tasks.

    `expected`: by item id, in the order in which they were made. `enqueued`: monotonic seconds by queue.
    Every method raises StoreError when the file cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'site.db'}"
        self.diary = folder / "tasks.log"
        self.expected: dict[str, Expected] = {}
        self.enqueued: dict[str, float] = {}
        self._site = open_site(self.url)
        self._service = QueueService(self._site)

    def fill(self, queues: Sequence[QueuePlan], counts: Sequence[int]) -> None:
        """Make contacts, queues and tasks."""
        self._service.insert(CONTACT, [{"id": contact, "user_id": contact} for contact in CONTACTS])
        for queue, count in zip(queues, counts, strict=True):
            self._service.create_queue(queue.name, **queue.settings)
            self._push(queue, count)

    def _push(self, queue: QueuePlan, count: int) -> None:
        callback = f"coworker.demo.tasks:{queue.callback}"
        arguments = [str(self.diary), *queue.arguments]
        contacts = [queue.contacts[number % len(queue.contacts)] for number in range(count)]
        tasks = [
            Task(callback, arguments, f"{queue.name} {number}", _run_as(contact))
            for number, contact in enumerate(contacts, 1)
        ]
        ids = self._service.push_all(queue.name, tasks)
        self.enqueued[queue.name] = time.monotonic()
        for item, contact in zip(ids, contacts, strict=True):
            self.expected[str(item)] = Expected(queue.name, queue.tries, queue.succeeds, contact)

    def count_left(self) -> dict[str, int]:
        """Return how many tasks are left, by queue; queues with none are not among them."""
        params = {"select": ["queue_name", "COUNT(*) AS count"], "groupBy": ["queue_name"]}
        rows = self._site.find(parse_query(QUEUE_ITEM, params, self._service.store.now()))
        return {row["queue_name"]: row["count"] for row in rows}

    def left(self) -> frozenset[str]:
        """Return the ids of the tasks that are left."""
        rows = self._site.find(parse_query(QUEUE_ITEM, {"select": ["id"]}, self._service.store.now()))
        return frozenset(str(row["id"]) for row in rows)

    def close(self) -> None:
        self._site.close()


def _run_as(contact: int | None) -> dict[str, int] | None:
    return None if contact is None else {"contactId": contact, "domainId": 1}
