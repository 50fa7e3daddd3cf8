"""An SQLite file that many processes use at the same time: WAL mode, and writes in immediate transactions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coworker.queues.errors import StoreError


class SqliteFile:
    """One connection to a file, or to ":memory:" which ends with this object.

    Every method raises StoreError when the file cannot be used. `busy_timeout` is how long to wait for
    another process, in seconds.
    """

    def __init__(self, path: str, busy_timeout: float) -> None:
        self.path = None if path == ":memory:" else Path(path).absolute()
        self._name = path
        try:
            self._db = sqlite3.connect(
                path, timeout=busy_timeout, isolation_level=None, cached_statements=256
            )
            _use_wal(self._db)
            self._db.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error as error:
            raise StoreError(f"{error} ({path})") from error
        self._inode = self._find_inode()

    def add_tables(self, script: str, sign: str) -> None:
        """Run the statements of a script, unless the table `sign` is there already."""
        known = f"SELECT 1 FROM sqlite_master WHERE name = '{sign}'"  # noqa: S608
        try:
            if self._db.execute(known).fetchone():
                return
            self._db.execute("BEGIN IMMEDIATE")
            if not self._db.execute(known).fetchone():  # nobody was quicker
                for statement in script.split(";\n"):
                    self._db.execute(statement)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"{error} ({self._name})") from error

    def rows(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a SELECT."""
        try:
            return self._db.execute(text, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    def change(self, text: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement that writes; the cursor knows `lastrowid` and `rowcount`."""
        try:
            return self._db.execute(text, values)
        except sqlite3.IntegrityError as error:
            raise StoreError("already exists" if "UNIQUE" in str(error) else str(error)) from error
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """Add rows, all or none, and return their ids in the same order."""
        ids = []
        with self.transaction():
            for row in rows:
                text = f"INSERT INTO {table} ({','.join(row)}) VALUES ({marks(row)})"  # noqa: S608
                ids.append(self.change(text, list(row.values())).lastrowid or 0)
        return ids

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what is done inside one transaction, which is rolled back when anything is raised."""
        self.change("BEGIN IMMEDIATE")
        try:
            yield
            self.change("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.rollback()
            raise

    def check(self) -> None:
        """Raise StoreError for a file that was moved or replaced: nobody else would ever see our changes."""
        if self.path is not None and self._find_inode() != self._inode:
            raise StoreError(f"the file is not there any more ({self.path})")

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def _find_inode(self) -> tuple[int, int] | None:
        if self.path is None:
            return None
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def marks(values: Sequence[Any] | Mapping[str, Any]) -> str:
    """One question mark for each value of a statement, separated by commas."""
    return ",".join("?" * len(values))


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to WAL. A new file does not wait for others who do the same, so try again for a while."""
    deadline = time.monotonic() + 5
    while db.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
