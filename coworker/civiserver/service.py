"""The actions of `Queue` (claimItems, runItems, run, reset), and how to make queues and items in Python.

A queue's settings are read once and then remembered for the life of the process, as CiviCRM does (contract
A4): a pipe that has used a queue does not see later changes. Its status is always read fresh.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from coworker.civiserver.errors import ApiError, message_of
from coworker.civiserver.fields import QUEUE, QUEUE_ITEM, Entity, Row
from coworker.civiserver.query import parse_query
from coworker.civiserver.release import Release
from coworker.civiserver.runner import TaskRunner
from coworker.civiserver.site_store import SiteStore
from coworker.claims.beginnings import TaskNotes
from coworker.model import SYSTEM, Identity, Outcome
from coworker.queues.stores.base import NewItem, QueueSpec, QueueStore, StoredItem
from coworker.queues.task import Task, parse_data

TYPES = ("Sql", "SqlParallel")
STATUSES = ("active", "completed", "draft", "aborted")
ERROR_MODES = ("delete", "abort")
_AT_ONCE = 500  # ids in one statement
_RUNNER_NAME = re.compile(r"[A-Za-z0-9_]+")


class QueueService:
    """The rules of queues, over the site that keeps them.

    `domain` is the one that this process serves; `guard` is entered while tasks run (the server puts the
    guard of its standard output here).
    """

    def __init__(
        self,
        site: SiteStore,
        release: Release | None = None,
        domain: int = 1,
        guard: AbstractContextManager[Any] | None = None,
        notes: TaskNotes | None = None,
    ) -> None:
        self.site = site
        self.store: QueueStore = site.queues
        self.release = release or Release()
        self.domain = domain
        self._guard = guard or nullcontext()
        self._runner = TaskRunner(self.store, self.release, notes)
        self._specs: dict[str, QueueSpec] = {}

    # making queues and items

    def create_queue(self, name: str, **settings: Any) -> int:
        """Make a queue (SqlParallel, runner task, error delete, unless said otherwise) and return its id."""
        values = {"type": "SqlParallel", "runner": "task", "error": "delete", **settings, "name": name}
        return self.insert(QUEUE, [values])[0]

    def push(self, queue: str, callback: str, *arguments: Any, weight: int = 0, **more: Any) -> int:
        """Add one task, and return the id of its item.

        `callback` is "module:function"; `more` may be title, run_as, release_time (text).
        """
        release_time = more.pop("release_time", None)
        task = Task(callback, list(arguments), **more)
        return self.push_all(queue, [task], weight=weight, release_time=release_time)[0]

    def push_all(
        self, queue: str, tasks: Iterable[Task], *, weight: int = 0, release_time: str | None = None
    ) -> list[int]:
        """Add tasks, all or none, and return their ids in order; release_time as in APIv4 (`+60 seconds`)."""
        now = self.store.now()
        common = to_stored(QUEUE_ITEM, {"weight": weight, "release_time": release_time}, now)
        data = QUEUE_ITEM.fields["data"]
        items = [NewItem(data.to_store(task.to_data(), now), **common) for task in tasks]
        return self.store.push(queue, items)

    def items(self, queue: str) -> list[Row]:
        """Return the items of a queue in order, with times as text and `data` as it was given."""
        ordered = {"where": [["queue_name", "=", queue]], "orderBy": {"weight": "ASC", "id": "ASC"}}
        rows = self.site.find(parse_query(QUEUE_ITEM, ordered, self.store.now()))
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            data = {item.id: item.data for item in self.store.fetch(queue, [row["id"] for row in part])}
            for row in part:
                row["data"] = parse_data(data.get(row["id"]))
        return rows

    def insert(self, entity: Entity, records: Sequence[Row]) -> list[int]:
        """Add rows in the API's shape, with defaults, and return their ids; unknown fields are left out."""
        now = self.store.now()
        defaults = {field.name: field.default for field in entity.columns() if field.default is not None}
        return self.site.insert(
            entity, [to_stored(entity, {**defaults, **_given(entity, record)}, now) for record in records]
        )

    # claiming and running

    def claim(self, queue: str) -> list[StoredItem]:
        """Claim up to batch_limit items, none if the queue is not active. Raises ApiError for a bad queue."""
        spec = self.spec(queue)
        if self.status(queue) != "active":
            return []
        if spec.linear and spec.batch_limit > 1:
            raise ApiError(f'Queue "{queue}" (CRM_Queue_Queue_Sql) does not support batching.')
        return self.store.claim(spec, spec.batch_limit or 1)

    def run_claimed(
        self, queue: str, ids: Sequence[int], identity: Identity = SYSTEM
    ) -> list[tuple[int, Outcome]]:
        """Run items, fetched again by id; neither status nor lease is checked (contract A3)."""
        spec = self.spec(queue)
        if len(ids) > 1 and spec.linear:
            raise ApiError("runItems: Error: Running multiple items requires BatchQueueInterface")
        items: list[StoredItem | None] = list(self.fetch(queue, ids))
        if not items and len(ids) == 1:
            items = [None]
        return self._run(spec, items, identity)

    def run_next(self, queue: str, identity: Identity = SYSTEM) -> list[tuple[int, Outcome]]:
        """Claim a batch and run it. The result is empty if there was nothing to claim."""
        spec = self.spec(queue)
        if self.status(queue) != "active":
            return []
        items: list[StoredItem | None] = list(self.store.claim(spec, spec.batch_limit or 1))
        if not items and spec.linear:
            items = [None]  # CiviCRM trips over its own empty hands here
        return self._run(spec, items, identity)

    def run_loop(
        self, queue: str, max_requests: int | None, max_duration: int | None, identity: Identity
    ) -> Row:
        """Claim and run until a limit (None or negative: none); return counts and an `exit_message`."""
        self.spec(queue)
        start = time.monotonic()
        requests = successes = errors = 0
        while (message := self._reason_to_end(queue, requests, start, max_requests, max_duration)) is None:
            requests += 1
            try:
                claimed = self.claim(queue)
                if not claimed:
                    message = "No claimable items"
                    break
                results = self.run_claimed(queue, [item.id for item in claimed], identity)
            except Exception as error:
                errors += 1
                message = (
                    f"Queue-item raised unhandled exception ({type(error).__name__}: {message_of(error)})"
                )
                break
            good = sum(outcome is Outcome.OK for _, outcome in results)
            successes += good
            errors += len(results) - good
        ready, blocked, total = self.store.statistics(queue)
        return {
            "loop_duration": f"{time.monotonic() - start:.3f}",
            "loop_requests": requests,
            "item_successes": successes,
            "item_errors": errors,
            "queue_ready": ready,
            "queue_blocked": blocked,
            "queue_total": total,
            "exit_message": message,
        }

    def reset(self, queue: str) -> int:
        """Drop every item of a queue, and return how many there were."""
        self.spec(queue)
        return self.store.reset(queue)

    # what the actions share

    def spec(self, queue: str) -> QueueSpec:
        """Return the queue's settings, and remember them. Raises ApiError for one that cannot work."""
        known = self._specs.get(queue)
        if known is not None:
            return known
        found = self.store.queue(queue)
        problem = 'Missing field "type".' if found is None else _problem(found)
        if found is None or problem:
            raise ApiError(f'Failed to create queue "{queue}". {problem}')
        if found.type not in TYPES:
            raise ApiError(f'Class "CRM_Queue_Queue_{found.type}" does not exist')
        if found.linear and not self.store.abilities.order:
            raise ApiError(f'Queue "{queue}" is linear, and its store keeps no order.')
        self._specs[queue] = found
        return found

    def status(self, queue: str) -> str | None:
        """Return the stored status, always fresh, or "paused" while the domain pauses its queues."""
        return "paused" if self.site.pauses_queues(self.domain) else self.store.status(queue)

    def fetch(self, queue: str, ids: Sequence[int]) -> list[StoredItem]:
        return self.store.fetch(queue, ids) if ids else []

    def _run(
        self, spec: QueueSpec, items: Sequence[StoredItem | None], identity: Identity
    ) -> list[tuple[int, Outcome]]:
        if not items:
            return []
        if not spec.runner or not _RUNNER_NAME.fullmatch(spec.runner):
            raise ApiError(f"Cannot autorun queue: {spec.name}")
        if spec.runner != "task":
            raise ApiError(
                f"Failed to run queue items (name={spec.name}, runner={spec.runner}, "
                f"itemCount={len(items)}, outcomeCount=0)"
            )
        with self._guard:
            outcomes = self._runner.run_batch(spec, items, identity._replace(domain=self.domain))
        return [(item.id, outcome) for item, outcome in zip(items, outcomes, strict=True) if item is not None]

    def _reason_to_end(
        self, queue: str, requests: int, start: float, max_requests: int | None, max_duration: int | None
    ) -> str | None:
        status = self.status(queue)
        if status != "active":
            return f"Queue is not active (status => {status or ''})"
        if max_requests is not None and 0 <= max_requests <= requests:
            return f"Reached request limit ({max_requests})"
        if max_duration is not None and 0 <= max_duration <= time.monotonic() - start:
            return f"Reached duration limit ({max_duration})"
        return None


def to_stored(entity: Entity, record: Row, now: int) -> Row:
    """Return a record of the API as the store keeps it; unknown fields are left out, as APIv4 does."""
    fields = entity.fields
    return {
        name: fields[name].to_store(value, now)
        for name, value in record.items()
        if name in fields and not fields[name].extra
    }


def _given(entity: Entity, record: Row) -> Row:
    """Leave out the fields that are NULL and cannot be: they take their defaults."""
    kept = {field.name for field in entity.columns() if field.nullable or field.default is None}
    return {name: value for name, value in record.items() if value is not None or name in kept}


def _problem(spec: QueueSpec) -> str | None:
    """Return what CiviCRM finds wrong with the settings of a queue before it uses it."""
    if not spec.type:
        return 'Missing field "type".'
    if not spec.runner:
        return None
    if spec.status not in STATUSES:
        return f'Invalid queue status "{spec.status or ""}".'
    if spec.runner == "task" and spec.error not in ERROR_MODES:
        return f'Invalid error mode "{spec.error or ""}".'
    return None
