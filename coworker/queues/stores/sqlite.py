"""Queues in an SQLite file: WAL mode, many processes, claims in one immediate transaction each."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coworker.civiserver import sql
from coworker.civiserver.fields import Entity, Row
from coworker.civiserver.query import Query, shape
from coworker.queues.errors import StoreError
from coworker.queues.stores.base import DEFAULT_LEASE_TIME, Contact, QueueSpec, Statistics, Store, StoredItem
from coworker.queues.stores.schema import prepare

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
_STATE = (
    "SELECT (SELECT status FROM civicrm_queue WHERE name = ?), "
    "(SELECT value FROM civicrm_setting WHERE domain_id = ? AND name = 'queue_paused')"
)
_STATISTICS = (
    "SELECT coalesce(sum(release_time IS NULL OR release_time <= ?2), 0), count(*) "
    "FROM civicrm_queue_item WHERE queue_name = ?1"
)


class SqliteStore(Store):
    """A file, or ":memory:" which ends with this object. Times in seconds."""

    def __init__(self, path: str, clock_offset: float = 0.0, busy_timeout: float = 5.0) -> None:
        super().__init__(clock_offset)
        self._path = None if path == ":memory:" else Path(path).absolute()
        try:
            self._db = sqlite3.connect(
                path, timeout=busy_timeout, isolation_level=None, cached_statements=256
            )
            prepare(self._db)
        except sqlite3.Error as error:
            raise StoreError(f"{error} ({path})") from error
        self._inode = self._find_inode()

    # rows

    def find(self, query: Query) -> list[Row]:
        free = sql.find_free(query)
        if free is not None and self._many_expired(free.queue, free.bound):
            free = None  # most are free: going through them in order is quickest
        statement = sql.to_statement(query, free)
        return [shape(query, row) for row in self._rows(statement.text, statement.values)]

    def insert(self, entity: Entity, rows: Sequence[Row]) -> list[int]:
        ids = []
        with self._transaction():
            for row in rows:
                text = f"INSERT INTO {entity.table} ({','.join(row)}) VALUES ({sql.marks(list(row))})"  # noqa: S608
                ids.append(self._change(text, list(row.values())).lastrowid or 0)
        return ids

    def update(self, entity: Entity, row_id: int, values: Row) -> None:
        if values:
            text = f"UPDATE {entity.table} SET {','.join(f'{name} = ?' for name in values)} WHERE id = ?"  # noqa: S608
            self._change(text, [*values.values(), row_id])

    def delete(self, entity: Entity, ids: Sequence[int]) -> None:
        with self._transaction():
            for row_id in ids:
                self._change(f"DELETE FROM {entity.table} WHERE id = ?", [row_id])  # noqa: S608

    # queues

    def queue(self, name: str) -> QueueSpec | None:
        rows = self._rows(_QUEUE, [name])
        return QueueSpec(*rows[0]) if rows else None

    def queue_state(self, name: str, domain: int) -> tuple[str | None, bool]:
        status, paused = self._rows(_STATE, [name, domain])[0]
        return status, bool(paused is not None and json.loads(paused))

    def set_status(self, name: str, status: str) -> None:
        self._change("UPDATE civicrm_queue SET status = ? WHERE name = ?", [status, name])

    # items

    def claim(self, queue: QueueSpec, limit: int) -> list[StoredItem]:
        with self._transaction():
            now = self.now()
            if queue.linear:
                rows = self._rows(_HEAD, [queue.name, now])
            else:
                text = _WALK if self._many_expired(queue.name, now) else _FREE
                rows = self._rows(text, [queue.name, now, limit])
            if rows:
                text = f"{_LEASE}({sql.marks(rows)})"
                self._change(
                    text, [now + (queue.lease_time or DEFAULT_LEASE_TIME), *(row[0] for row in rows)]
                )
        return [StoredItem(item_id, data, run_count + 1) for item_id, data, run_count in rows]

    def fetch(self, queue: str, ids: Sequence[int]) -> list[StoredItem]:
        text = (
            "SELECT id, data, run_count FROM civicrm_queue_item "  # noqa: S608
            f"WHERE id IN ({sql.marks(ids)}) AND +queue_name = ? ORDER BY id"
        )
        return [StoredItem(*row) for row in self._rows(text, [*ids, queue])]

    def remove(self, queue: str, item_id: int) -> None:
        self._change("DELETE FROM civicrm_queue_item WHERE id = ? AND +queue_name = ?", [item_id, queue])

    def release(self, queue: str, item_id: int, release_time: int | None) -> None:
        text = "UPDATE civicrm_queue_item SET release_time = ? WHERE id = ? AND +queue_name = ?"
        self._change(text, [release_time, item_id, queue])

    def relinquish(self, queue: str, ids: Sequence[int], release_time: int | None) -> None:
        text = (
            "UPDATE civicrm_queue_item SET release_time = ?, run_count = run_count - 1 "  # noqa: S608
            f"WHERE id IN ({sql.marks(ids)}) AND +queue_name = ?"
        )
        self._change(text, [release_time, *ids, queue])

    def statistics(self, queue: str) -> Statistics:
        ready, total = self._rows(_STATISTICS, [queue, self.now()])[0]
        return Statistics(ready, total - ready, total)

    def reset(self, queue: str) -> int:
        return self._change("DELETE FROM civicrm_queue_item WHERE queue_name = ?", [queue]).rowcount

    # the rest of the site

    def contact(self, *, contact_id: int | None = None, user_id: int | None = None) -> Contact | None:
        column, value = ("id", contact_id) if contact_id is not None else ("user_id", user_id)
        text = f"SELECT id, user_id, is_blocked FROM civicrm_contact WHERE {column} = ?"  # noqa: S608
        rows = self._rows(text, [value])
        return Contact(rows[0][0], rows[0][1], bool(rows[0][2])) if rows else None

    def settings(self, domain: int) -> dict[str, Any]:
        rows = self._rows("SELECT name, value FROM civicrm_setting WHERE domain_id = ?", [domain])
        return {name: json.loads(value) for name, value in rows}

    def set_setting(self, domain: int, name: str, value: Any) -> None:
        text = "INSERT OR REPLACE INTO civicrm_setting (domain_id, name, value) VALUES (?, ?, ?)"
        self._change(text, [domain, name, json.dumps(value)])

    def check(self) -> None:
        """A file that was moved or replaced would go on taking changes that nobody else ever sees."""
        if self._path is not None and self._find_inode() != self._inode:
            raise StoreError(f"the file is not there any more ({self._path})")

    def close(self) -> None:
        self._db.close()

    # the connection

    def _many_expired(self, queue: str, bound: int) -> bool:
        return bool(self._rows(_EXPIRED, [queue, bound]))

    def _rows(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(text, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    def _change(self, text: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self._db.execute(text, values)
        except sqlite3.IntegrityError as error:
            raise StoreError("already exists" if "UNIQUE" in str(error) else str(error)) from error
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._change("BEGIN IMMEDIATE")
        try:
            yield
            self._change("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.rollback()
            raise

    def _find_inode(self) -> tuple[int, int] | None:
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
