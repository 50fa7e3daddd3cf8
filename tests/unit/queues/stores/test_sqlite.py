"""The SQLite store: claims, leases, and what happens when it cannot be used."""

import sqlite3
import threading

import pytest

from coworker.civiserver.fields import CONTACT, QUEUE, QUEUE_ITEM
from coworker.civiserver.query import parse_query
from coworker.civiserver.service import QueueService
from coworker.errors import ConfigError, ExitCode
from coworker.queues.errors import StoreError
from coworker.queues.stores import open_store
from coworker.queues.task import Task

TASK = Task("builtins:print")


@pytest.fixture
def service(tmp_path):
    service = QueueService(open_store(f"sqlite:///{tmp_path}/queue.db", busy_timeout=0.05))
    service.create_queue("q", batch_limit=2)
    service.create_queue("line", type="Sql")
    yield service
    service.store.close()


def rows(service, queue="q"):
    """(id, seconds until release, run_count) of each item."""
    now = service.store.now()
    text = (
        "SELECT id, release_time, run_count FROM civicrm_queue_item WHERE queue_name = ? ORDER BY weight, id"
    )
    found = service.store._db.execute(text, [queue]).fetchall()
    return [(item_id, release and release - now, count) for item_id, release, count in found]


def ids(items):
    return [item.id for item in items]


def test_a_claim_leases_in_order_of_weight_and_counts_a_try(service):
    late = service.push_all("q", [TASK] * 2, weight=1)
    early = service.push_all("q", [TASK])
    claimed = service.claim("q")
    assert ids(claimed) == [early[0], late[0]]
    assert [item.run_count for item in claimed] == [1, 1]
    assert rows(service) == [(3, 3600, 1), (1, 3600, 1), (2, None, 0)]


def test_an_item_is_free_after_the_second_of_its_release_not_in_it(service):
    service.push_all("q", [TASK])
    now = service.store.now()
    service.store.now = lambda: now
    service.store.release("q", 1, now)
    assert service.claim("q") == []
    assert service.store.statistics("q").ready == 1  # the count says "<=", the claim "<", as in CiviCRM
    service.store.release("q", 1, now - 1)
    assert ids(service.claim("q")) == [1]


def test_free_items_are_found_behind_leased_ones_and_among_expired_ones(service):
    service.push_all("q", [TASK] * 6)
    now = service.store.now()
    for item_id, release in ((1, now + 100), (2, now - 100), (3, now + 100), (5, now - 50)):
        service.store.release("q", item_id, release)
    assert ids(service.claim("q")) == [2, 4]
    assert ids(service.claim("q")) == [5, 6]


def test_many_expired_items_are_claimed_in_the_same_order(service):
    service.push_all("q", [TASK] * 600, release_time="-100 seconds")
    service.push_all("q", [TASK], weight=-1)
    assert ids(service.claim("q")) == [601, 1]
    assert ids(service.claim("q")) == [2, 3]


def test_a_linear_queue_gives_its_head_or_nothing(service):
    service.push_all("line", [TASK] * 2)
    assert ids(service.claim("line")) == [1]
    assert service.claim("line") == []
    service.store.remove("line", 1)
    assert ids(service.claim("line")) == [2]


def test_items_of_another_queue_are_not_touched_by_their_id(service):
    service.push_all("q", [TASK])
    service.claim("q")
    service.store.remove("line", 1)
    service.store.release("line", 1, None)
    service.store.relinquish("line", [1], None)
    assert rows(service) == [(1, 3600, 1)]
    assert service.fetch("line", [1]) == []


def test_a_failed_insert_leaves_nothing(service):
    with pytest.raises(StoreError, match="already exists"):
        service.store.insert(QUEUE, [{"name": "new", "type": "Sql"}, {"name": "q", "type": "Sql"}])
    assert service.store.queue("new") is None


def test_a_file_has_a_write_ahead_log(service):
    assert service.store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_locked_store_is_an_error_and_usable_again_afterwards(service, tmp_path):
    service.push_all("q", [TASK])
    other = sqlite3.connect(tmp_path / "queue.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="DB Error: database is locked"):
        service.claim("q")
    with pytest.raises(StoreError, match="DB Error: database is locked"):
        service.store.remove("q", 1)
    other.rollback()
    other.close()
    assert ids(service.claim("q")) == [1]


def test_a_moved_file_is_noticed_and_its_return_too(service, tmp_path):
    service.store.check()
    (tmp_path / "queue.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(StoreError, match="DB Error: the file is not there any more"):
        service.store.check()
    (tmp_path / "elsewhere.db").rename(tmp_path / "queue.db")
    service.store.check()


def test_opening_twice_keeps_what_is_there(service, tmp_path):
    service.push_all("q", [TASK])
    again = QueueService(open_store(f"sqlite:///{tmp_path}/queue.db"))
    assert again.items("q")[0]["data"] == TASK.to_data()
    again.store.close()


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


def test_contacts_are_known_by_id_and_by_user(service):
    store = service.store
    assert store.contact(contact_id=1).user_id is None
    assert store.contact(user_id=1).id == 2
    store.insert(CONTACT, [{"id": 7, "user_id": 70, "is_blocked": 1}])
    assert store.contact(contact_id=7) == (7, 70, True)
    assert store.contact(contact_id=8) is None


def test_reset_counts_what_it_drops(service):
    service.push_all("q", [TASK] * 3)
    service.push_all("line", [TASK])
    assert service.reset("q") == 3
    assert service.store.statistics("q") == (0, 0, 0)
    assert service.store.statistics("line").total == 1


@pytest.fixture
def steps(service):
    """A function that counts the instructions of SQLite's machine while it calls another, in tens."""

    def count(function):
        ticks = []
        service.store._db.set_progress_handler(lambda: ticks.append(1), 10)
        function()
        service.store._db.set_progress_handler(None, 0)
        return len(ticks)

    return count


@pytest.mark.parametrize("release_time", [None, "+3600 seconds", "-3600 seconds"])
def test_a_claim_costs_the_same_however_many_items_are_free_leased_or_expired(service, steps, release_time):
    """By instructions, not by the clock: 4,000 items ahead of the two that are free make no difference."""
    service.push_all("q", [TASK] * 4000, release_time=release_time)
    service.push_all("q", [TASK] * 4, weight=1)
    assert steps(lambda: service.claim("q")) < 300


def test_the_names_of_queues_cost_the_same_however_many_items_they_have(service, steps):
    service.push_all("q", [TASK] * 4000)
    service.push_all("line", [TASK])
    names = {"select": ["queue_name"], "groupBy": ["queue_name"]}
    query = parse_query(QUEUE_ITEM, names, service.store.now())
    assert steps(lambda: service.store.find(query)) < 20
