"""Queues in an SQLite file: each claim is one immediate transaction.

Indexes of civicrm_queue_item, each for one question (Q is one queue):
- index_queueids: Q in order of weight and id; the head of a linear queue; the names of the queues with items;
- index_free: the first free items of Q, however many leased ones lie before them;
- index_leased: the items of Q whose release_time has passed, or lies between two times.
"""

from __future__ import annotations

from collections.abc import Sequence

from coworker.queues.errors import StoreError
from coworker.queues.stores.base import (
    DEFAULT_LEASE_TIME,
    NewItem,
    QueueSpec,
    QueueStore,
    Statistics,
    StoredItem,
)
from coworker.queues.stores.sqlite_file import SqliteFile, marks

_VERSION = 1  # of the tables

_TABLES = f"""
CREATE TABLE civicrm_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    runner TEXT,
    batch_limit INTEGER NOT NULL DEFAULT 1,
    lease_time INTEGER NOT NULL DEFAULT 3600,
    retry_limit INTEGER NOT NULL DEFAULT 0,
    retry_interval INTEGER,
    status TEXT DEFAULT 'active',
    error TEXT,
    is_template INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE civicrm_queue_item (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue_name TEXT NOT NULL,
    weight INTEGER NOT NULL DEFAULT 0,
    submit_time INTEGER NOT NULL,
    release_time INTEGER,
    run_count INTEGER NOT NULL DEFAULT 0,
    data TEXT
);
CREATE INDEX index_queueids ON civicrm_queue_item (queue_name, weight, id);
CREATE INDEX index_free ON civicrm_queue_item (queue_name, weight, id)
    WHERE release_time IS NULL;
CREATE INDEX index_leased ON civicrm_queue_item (queue_name, release_time, weight, id)
    WHERE release_time IS NOT NULL;
PRAGMA user_version = {_VERSION};
"""

_MANY = 256  # so many items past their release_time make reading in order quicker than sorting them

_EXPIRED = (
    "SELECT 1 FROM civicrm_queue_item WHERE queue_name = ? AND release_time < ? "  # noqa: S608
    f"LIMIT 1 OFFSET {_MANY}"
)
_HEAD = (
    "SELECT id, data, run_count FROM (SELECT id, data, run_count, release_time FROM civicrm_queue_item "
    "WHERE queue_name = ?1 ORDER BY weight, id LIMIT 1) WHERE release_time IS NULL OR release_time < ?2"
)
_FREE = (
    "SELECT id, data, run_count FROM ("
    "SELECT * FROM (SELECT id, weight, data, run_count FROM civicrm_queue_item "
    "WHERE queue_name = ?1 AND release_time IS NULL ORDER BY weight, id LIMIT ?3) UNION ALL "
    "SELECT * FROM (SELECT id, weight, data, run_count FROM civicrm_queue_item "
    "WHERE queue_name = ?1 AND release_time < ?2 ORDER BY weight, id LIMIT ?3)"
    ") ORDER BY weight, id LIMIT ?3"
)
_WALK = (
    "SELECT id, data, run_count FROM civicrm_queue_item INDEXED BY index_queueids "
    "WHERE queue_name = ?1 AND (release_time IS NULL OR release_time < ?2) ORDER BY weight, id LIMIT ?3"
)
_LEASE = "UPDATE civicrm_queue_item SET release_time = ?, run_count = run_count + 1 WHERE id IN "
_QUEUE = (
    "SELECT name, type, runner, batch_limit, lease_time, retry_limit, retry_interval, status, error "
    "FROM civicrm_queue WHERE name = ?"
)
_STATUS = "SELECT status FROM civicrm_queue WHERE name = ?"
_STATISTICS = (
    "SELECT coalesce(sum(release_time IS NULL OR release_time <= ?2), 0), count(*) "
    "FROM civicrm_queue_item WHERE queue_name = ?1"
)


class SqliteStore(QueueStore):
    """Queues in a file, or in ":memory:" which ends with this object. Times in seconds."""

    def __init__(self, path: str, clock_offset: float = 0.0, busy_timeout: float = 5.0) -> None:
        super().__init__(clock_offset)
        self.file = SqliteFile(path, busy_timeout)
        ((version,),) = self.file.rows("PRAGMA user_version")
        if version not in (0, _VERSION):  # 0: a new file
            raise StoreError(f"the store's tables are of version {version}; this program knows {_VERSION}")
        self.file.add_tables(_TABLES, "civicrm_queue")

    def check(self) -> None:
        self.file.check()

    def close(self) -> None:
        self.file.close()

    # queues

    def queue(self, name: str) -> QueueSpec | None:
        rows = self.file.rows(_QUEUE, [name])
        return QueueSpec(*rows[0]) if rows else None

    def status(self, name: str) -> str | None:
        rows = self.file.rows(_STATUS, [name])
        return rows[0][0] if rows else None

    def set_status(self, name: str, status: str) -> None:
        self.file.change("UPDATE civicrm_queue SET status = ? WHERE name = ?", [status, name])

    # items

    def push(self, queue: str, items: Sequence[NewItem]) -> list[int]:
        now = self.now()
        rows = [{"queue_name": queue, "submit_time": now, **item._asdict()} for item in items]
        return self.file.insert("civicrm_queue_item", rows)

    def claim(self, queue: QueueSpec, limit: int) -> list[StoredItem]:
        with self.file.transaction():
            now = self.now()
            if queue.linear:
                rows = self.file.rows(_HEAD, [queue.name, now])
            else:
                text = _WALK if self.many_expired(queue.name, now) else _FREE
                rows = self.file.rows(text, [queue.name, now, limit])
            end = now + (queue.lease_time or DEFAULT_LEASE_TIME)
            if rows:
                self.file.change(f"{_LEASE}({marks(rows)})", [end, *(row[0] for row in rows)])
        return [StoredItem(item_id, data, run_count + 1, end) for item_id, data, run_count in rows]

    def fetch(self, queue: str, ids: Sequence[int]) -> list[StoredItem]:
        text = (
            "SELECT id, data, run_count FROM civicrm_queue_item "  # noqa: S608
            f"WHERE id IN ({marks(ids)}) AND +queue_name = ? ORDER BY id"
        )
        return [StoredItem(*row) for row in self.file.rows(text, [*ids, queue])]

    def remove(self, queue: str, item_id: int) -> None:
        self.file.change("DELETE FROM civicrm_queue_item WHERE id = ? AND +queue_name = ?", [item_id, queue])

    def release(self, queue: str, item_id: int, release_time: int | None) -> None:
        text = "UPDATE civicrm_queue_item SET release_time = ? WHERE id = ? AND +queue_name = ?"
        self.file.change(text, [release_time, item_id, queue])

    def relinquish(self, queue: str, ids: Sequence[int], release_time: int | None) -> None:
        text = (
            "UPDATE civicrm_queue_item SET release_time = ?, run_count = run_count - 1 "  # noqa: S608
            f"WHERE id IN ({marks(ids)}) AND +queue_name = ?"
        )
        self.file.change(text, [release_time, *ids, queue])

    def statistics(self, queue: str) -> Statistics:
        ready, total = self.file.rows(_STATISTICS, [queue, self.now()])[0]
        return Statistics(ready, total - ready, total)

    def reset(self, queue: str) -> int:
        return self.file.change("DELETE FROM civicrm_queue_item WHERE queue_name = ?", [queue]).rowcount

    def many_expired(self, queue: str, until: int) -> bool:
        """Whether so many items were free before `until` that reading in order is quicker than sorting."""
        return bool(self.file.rows(_EXPIRED, [queue, until]))
