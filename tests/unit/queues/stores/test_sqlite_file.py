"""An SQLite file that many use: its mode, its transactions, and what happens when it is moved."""

import pytest

from coworker.queues.errors import StoreError
from coworker.queues.stores.sqlite_file import SqliteFile

TABLES = """
CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE other (id INTEGER PRIMARY KEY);
"""


@pytest.fixture
def file(tmp_path):
    file = SqliteFile(str(tmp_path / "things.db"), 0.05)
    file.add_tables(TABLES, "thing")
    yield file
    file.close()


def test_a_file_has_a_write_ahead_log(file):
    assert file.rows("PRAGMA journal_mode") == [("wal",)]


def test_tables_are_made_once(file):
    file.insert("thing", [{"name": "a"}])
    file.add_tables(TABLES, "thing")
    assert file.rows("SELECT name FROM thing") == [("a",)]


def test_rows_are_added_all_or_none_and_their_ids_are_in_order(file):
    assert file.insert("thing", [{"name": "b"}, {"name": "a"}]) == [1, 2]
    with pytest.raises(StoreError, match=r"^already exists$"):
        file.insert("thing", [{"name": "c"}, {"name": "a"}])
    assert file.rows("SELECT count(*) FROM thing") == [(2,)]


def test_a_transaction_in_which_anything_is_raised_changes_nothing(file):
    with pytest.raises(KeyError), file.transaction():
        file.change("INSERT INTO thing (name) VALUES (?)", ["a"])
        raise KeyError
    assert file.rows("SELECT name FROM thing") == []


def test_a_moved_file_is_noticed_and_its_return_too(file, tmp_path):
    file.check()
    (tmp_path / "things.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(StoreError, match=r"^the file is not there any more"):
        file.check()
    (tmp_path / "elsewhere.db").rename(tmp_path / "things.db")
    file.check()


def test_a_file_that_is_not_a_database_is_named(tmp_path):
    (tmp_path / "text").write_text("this is not a database" * 100)
    with pytest.raises(StoreError, match=r"not a database \(.*text\)"):
        SqliteFile(str(tmp_path / "text"), 0.05)
