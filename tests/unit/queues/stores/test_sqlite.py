"""The SQLite store: claims, leases, and what happens when it cannot be used."""

import sqlite3
import threading

import pytest

from coworker.errors import ConfigError, ExitCode
from coworker.queues.errors import StoreError
from coworker.queues.stores import open_store
from coworker.queues.stores.base import NewItem, QueueSpec

ITEM = NewItem('{"callback":"builtins:print"}')


@pytest.fixture
def store(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/queue.db", busy_timeout=0.05)
    common = {"runner": "task", "error": "delete"}
    queues = [
        {"name": "q", "type": "SqlParallel", "batch_limit": 2, **common},
        {"name": "line", "type": "Sql", "batch_limit": 1, **common},
    ]
    store.file.insert("civicrm_queue", queues)
    yield store
    store.close()


def rows(store, queue="q"):
    """(id, seconds until release, run_count) of each item."""
    now = store.now()
    text = (
        "SELECT id, release_time, run_count FROM civicrm_queue_item WHERE queue_name = ? ORDER BY weight, id"
    )
    found = store.file.rows(text, [queue])
    return [(item_id, release and release - now, count) for item_id, release, count in found]


def claim(store, queue="q"):
    spec = store.queue(queue)
    return store.claim(spec, spec.batch_limit)


def ids(items):
    return [item.id for item in items]


def test_a_claim_leases_in_order_of_weight_and_counts_a_try(store):
    late = store.push("q", [ITEM._replace(weight=1)] * 2)
    early = store.push("q", [ITEM])
    claimed = claim(store, "q")
    assert ids(claimed) == [early[0], late[0]]
    assert [item.run_count for item in claimed] == [1, 1]
    assert rows(store) == [(3, 3600, 1), (1, 3600, 1), (2, None, 0)]


def test_an_item_is_free_after_the_second_of_its_release_not_in_it(store):
    store.push("q", [ITEM])
    now = store.now()
    store.now = lambda: now
    store.release("q", 1, now)
    assert claim(store, "q") == []
    assert store.statistics("q").ready == 1  # the count says "<=", the claim "<", as in CiviCRM
    store.release("q", 1, now - 1)
    assert ids(claim(store, "q")) == [1]


def test_free_items_are_found_behind_leased_ones_and_among_expired_ones(store):
    store.push("q", [ITEM] * 6)
    now = store.now()
    for item_id, release in ((1, now + 100), (2, now - 100), (3, now + 100), (5, now - 50)):
        store.release("q", item_id, release)
    assert ids(claim(store, "q")) == [2, 4]
    assert ids(claim(store, "q")) == [5, 6]


def test_many_expired_items_are_claimed_in_the_same_order(store):
    store.push("q", [ITEM._replace(release_time=store.now() - 100)] * 600)
    store.push("q", [ITEM._replace(weight=-1)])
    assert ids(claim(store, "q")) == [601, 1]
    assert ids(claim(store, "q")) == [2, 3]


def test_a_linear_queue_gives_its_head_or_nothing(store):
    store.push("line", [ITEM] * 2)
    assert ids(claim(store, "line")) == [1]
    assert claim(store, "line") == []
    store.remove("line", 1)
    assert ids(claim(store, "line")) == [2]


def test_items_of_another_queue_are_not_touched_by_their_id(store):
    store.push("q", [ITEM])
    claim(store, "q")
    store.remove("line", 1)
    store.release("line", 1, None)
    store.relinquish("line", [1], None)
    assert rows(store) == [(1, 3600, 1)]
    assert store.fetch("line", [1]) == []


def test_a_push_that_fails_leaves_nothing(store):
    with pytest.raises(StoreError):
        store.push("q", [ITEM, ITEM._replace(data=object())])
    assert store.statistics("q").total == 0


def test_a_queue_has_settings_and_a_status_that_is_read_afresh(store):
    assert store.queue("q") == QueueSpec("q", "SqlParallel", "task", 2, 3600, 0, None, "active", "delete")
    assert (store.queue("line").linear, store.queue("none")) == (True, None)
    assert (store.status("q"), store.status("none")) == ("active", None)
    store.set_status("q", "draft")
    assert store.status("q") == "draft"


def test_a_locked_store_is_an_error_and_usable_again_afterwards(store, tmp_path):
    store.push("q", [ITEM])
    other = sqlite3.connect(tmp_path / "queue.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="database is locked"):
        claim(store, "q")
    with pytest.raises(StoreError, match="database is locked"):
        store.remove("q", 1)
    other.rollback()
    other.close()
    assert ids(claim(store, "q")) == [1]


def test_opening_twice_keeps_what_is_there(store, tmp_path):
    store.push("q", [ITEM])
    again = open_store(f"sqlite:///{tmp_path}/queue.db")
    (item,) = again.fetch("q", [1])
    assert (item.id, item.data, item.run_count) == (1, ITEM.data, 0)
    again.close()


def test_many_may_open_a_new_file_at_once(tmp_path):
    opened, failed = [], []

    def open_one():
        try:
            opened.append(open_store(f"sqlite:///{tmp_path}/new.db"))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=open_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(opened), failed) == (8, [])


def test_a_store_of_a_newer_program_is_refused(tmp_path):
    path = tmp_path / "new.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="version 99; this program knows 1"):
        open_store(f"sqlite:///{path}")


def test_urls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_store("sqlite:///relative.db").close()
    open_store(f"sqlite:///{tmp_path}/absolute.db").close()
    open_store("memory:").close()
    assert {path.name for path in tmp_path.glob("*.db")} == {"relative.db", "absolute.db"}


@pytest.mark.parametrize("url", ["mysql://x", "sqlite:///", "queue.db", "", "sqlite:/x"])
def test_unknown_urls_are_a_mistake_in_the_settings(url):
    with pytest.raises(ConfigError, match="use sqlite:///FILE") as refused:
        open_store(url)
    assert refused.value.exit_code == ExitCode.CONFIG


def test_reset_counts_what_it_drops(store):
    store.push("q", [ITEM] * 3)
    store.push("line", [ITEM])
    assert store.reset("q") == 3
    assert store.statistics("q") == (0, 0, 0)
    assert store.statistics("line").total == 1


@pytest.fixture
def steps(store):
    """A function that counts the instructions of SQLite's machine while it calls another, in tens."""

    def count(function):
        ticks = []
        store.file._db.set_progress_handler(lambda: ticks.append(1), 10)
        function()
        store.file._db.set_progress_handler(None, 0)
        return len(ticks)

    return count


@pytest.mark.parametrize("release", [None, 3600, -3600])
def test_a_claim_costs_the_same_however_many_items_are_free_leased_or_expired(store, steps, release):
    """By instructions, not by the clock: 4,000 items ahead of the two that are free make no difference."""
    release_time = None if release is None else store.now() + release
    store.push("q", [ITEM._replace(release_time=release_time)] * 4000)
    store.push("q", [ITEM._replace(weight=1)] * 4)
    assert steps(lambda: claim(store, "q")) < 300
