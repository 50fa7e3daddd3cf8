"""The tables of an SQLite store: CiviCRM's columns, and what it takes to open the file safely.

Indexes of civicrm_queue_item, each for one question (Q is one queue):
- index_queueids: Q in order of weight and id; the head of a linear queue; the names of the queues with items;
- index_free: the first free items of Q, however many leased ones lie before them;
- index_leased: the items of Q whose release_time has passed, or lies between two times.
"""

from __future__ import annotations

import sqlite3
import time

from coworker.queues.errors import StoreError

_VERSION = 1

_TABLES = """
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


def prepare(db: sqlite3.Connection) -> None:
    """Make a new connection fit for use, and the tables if the file is new. Raises StoreError or
    sqlite3.Error.
    """
    _use_wal(db)
    db.execute("PRAGMA synchronous = NORMAL")
    if _version(db) == 0:
        db.execute("BEGIN IMMEDIATE")
        if _version(db) == 0:  # nobody was quicker
            for statement in _TABLES.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_VERSION}")
        db.execute("COMMIT")
    if _version(db) != _VERSION:
        raise StoreError(f"the store's tables are of version {_version(db)}; this program knows {_VERSION}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _use_wal(db: sqlite3.Connection) -> None:
    """Switching a new file to WAL does not wait for others who do the same, so try again for a while."""
    deadline = time.monotonic() + 5
    while db.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
