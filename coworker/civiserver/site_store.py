"""What the API asks of a site's database beside its queues: rows of any entity, contacts, settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from coworker.civiserver import sql
from coworker.civiserver.fields import Entity, Row
from coworker.civiserver.query import Query, shape
from coworker.errors import ConfigError
from coworker.queues.stores import open_store
from coworker.queues.stores.sqlite import SqliteStore

_TABLES = """
CREATE TABLE civicrm_contact (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER UNIQUE,
    is_blocked INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE civicrm_setting (
    domain_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT,
    PRIMARY KEY (domain_id, name)
);
INSERT INTO civicrm_contact (id, user_id) VALUES (1, NULL), (2, 1);
"""
_PAUSED = "SELECT value FROM civicrm_setting WHERE domain_id = ? AND name = 'queue_paused'"


class Contact(NamedTuple):
    """Somebody a pipe can log in as. Without a user there are no permissions."""

    id: int
    user_id: int | None
    is_blocked: bool


class SiteStore:
    """The tables of one site, in the file of its queues and over the same connection.

    Every method raises StoreError when the file cannot be used, and leaves nothing half done.
    """

    def __init__(self, queues: SqliteStore) -> None:
        self.queues = queues
        self._file = queues.file
        self._file.add_tables(_TABLES, "civicrm_setting")

    def find(self, query: Query) -> list[Row]:
        """Return the rows of a query, in the API's shape."""
        free = sql.find_free(query)
        if free is not None and self.queues.many_expired(free.queue, free.until):
            free = None  # most are free: going through them in order is quickest
        statement = sql.to_statement(query, free)
        return [shape(query, row) for row in self._file.rows(statement.text, statement.values)]

    def insert(self, entity: Entity, rows: Sequence[Row]) -> list[int]:
        """Add rows in the store's shape, all or none, and return their ids in the same order."""
        return self._file.insert(entity.table, rows)

    def update(self, entity: Entity, row_id: int, values: Row) -> None:
        """Change one row by its id; that there is no such row is not an error."""
        if values:
            text = f"UPDATE {entity.table} SET {','.join(f'{name} = ?' for name in values)} WHERE id = ?"  # noqa: S608
            self._file.change(text, [*values.values(), row_id])

    def delete(self, entity: Entity, ids: Sequence[int]) -> None:
        """Remove rows by id; that some are gone already is not an error."""
        with self._file.transaction():
            for row_id in ids:
                self._file.change(f"DELETE FROM {entity.table} WHERE id = ?", [row_id])  # noqa: S608

    def contact(self, *, contact_id: int | None = None, user_id: int | None = None) -> Contact | None:
        """Return a contact by its own id or by its user's."""
        column, value = ("id", contact_id) if contact_id is not None else ("user_id", user_id)
        text = f"SELECT id, user_id, is_blocked FROM civicrm_contact WHERE {column} = ?"  # noqa: S608
        rows = self._file.rows(text, [value])
        return Contact(rows[0][0], rows[0][1], bool(rows[0][2])) if rows else None

    def settings(self, domain: int) -> dict[str, Any]:
        """Return the settings of a domain that were ever set."""
        rows = self._file.rows("SELECT name, value FROM civicrm_setting WHERE domain_id = ?", [domain])
        return {name: json.loads(value) for name, value in rows}

    def set_setting(self, domain: int, name: str, value: Any) -> None:
        """Set one setting of a domain."""
        text = "INSERT OR REPLACE INTO civicrm_setting (domain_id, name, value) VALUES (?, ?, ?)"
        self._file.change(text, [domain, name, json.dumps(value)])

    def pauses_queues(self, domain: int) -> bool:
        """Return whether the domain pauses its queues, always fresh."""
        rows = self._file.rows(_PAUSED, [domain])
        return bool(rows and json.loads(rows[0][0]))

    def close(self) -> None:
        """Let go of the site and its queues: they share a connection."""
        self.queues.close()


def open_site(url: str, *, clock_offset: float = 0.0, busy_timeout: float = 5.0) -> SiteStore:
    """Open the site whose queues are at this URL. Arguments and errors are those of `open_store`."""
    store = open_store(url, clock_offset=clock_offset, busy_timeout=busy_timeout)
    if isinstance(store, SqliteStore):
        return SiteStore(store)
    store.close()
    raise ConfigError(f"the store {url!r} can keep queues, but not a site: use sqlite:///FILE or memory:")
