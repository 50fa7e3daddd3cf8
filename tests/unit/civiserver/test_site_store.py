"""What the API asks of the database of a site: rows, contacts, settings."""

import threading

import pytest

from coworker.civiserver import site_store
from coworker.civiserver.fields import CONTACT, QUEUE, QUEUE_ITEM
from coworker.civiserver.query import parse_query
from coworker.civiserver.service import QueueService
from coworker.civiserver.site_store import open_site
from coworker.errors import ConfigError
from coworker.queues.errors import StoreError
from coworker.queues.stores import open_store
from coworker.queues.task import Task

TASK = Task("builtins:print")


@pytest.fixture
def site(tmp_path):
    site = open_site(f"sqlite:///{tmp_path}/site.db")
    service = QueueService(site)
    service.create_queue("q")
    service.create_queue("line", type="Sql")
    yield site
    site.close()


def test_a_failed_insert_leaves_nothing(site):
    with pytest.raises(StoreError, match="already exists"):
        site.insert(QUEUE, [{"name": "new", "type": "Sql"}, {"name": "q", "type": "Sql"}])
    assert site.queues.queue("new") is None


def test_contacts_are_known_by_id_and_by_user(site):
    assert site.contact(contact_id=1).user_id is None
    assert site.contact(user_id=1).id == 2
    site.insert(CONTACT, [{"id": 7, "user_id": 70, "is_blocked": 1}])
    assert site.contact(contact_id=7) == (7, 70, True)
    assert site.contact(contact_id=8) is None


def test_a_domain_has_settings_and_may_pause_its_queues(site):
    assert (site.settings(1), site.pauses_queues(1)) == ({}, False)
    site.set_setting(1, "queue_paused", True)
    site.set_setting(1, "environment", "Staging")
    assert site.settings(1) == {"queue_paused": True, "environment": "Staging"}
    assert [site.pauses_queues(domain) for domain in (1, 2)] == [True, False]
    site.set_setting(1, "queue_paused", None)
    assert not site.pauses_queues(1)


def test_the_names_of_queues_cost_the_same_however_many_items_they_have(site):
    """By instructions of SQLite's machine, in tens."""
    service = QueueService(site)
    service.push_all("q", [TASK] * 4000)
    service.push_all("line", [TASK])
    names = {"select": ["queue_name"], "groupBy": ["queue_name"]}
    query = parse_query(QUEUE_ITEM, names, site.queues.now())
    ticks = []
    site.queues.file._db.set_progress_handler(lambda: ticks.append(1), 10)
    assert len(site.find(query)) == 2
    assert len(ticks) < 20


def test_a_file_of_queues_becomes_a_site_and_keeps_them(tmp_path):
    url = f"sqlite:///{tmp_path}/queues.db"
    store = open_store(url)
    add = "INSERT INTO civicrm_queue (name, type) VALUES ('a', 'Sql')"
    store.file.change(add)
    store.close()
    for _ in range(2):
        site = open_site(url)
        assert site.queues.queue("a").linear
        assert site.contact(user_id=1).id == 2
        site.close()


def test_many_may_open_a_new_site_at_once(tmp_path):
    opened, failed = [], []

    def open_one():
        try:
            opened.append(open_site(f"sqlite:///{tmp_path}/new.db"))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=open_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(opened), failed) == (8, [])


def test_a_store_that_is_not_a_database_is_a_mistake_in_the_settings(monkeypatch):
    class Broker:
        closed = False

        def close(self):
            self.closed = True

    broker = Broker()
    monkeypatch.setattr(site_store, "open_store", lambda url, **_: broker)
    with pytest.raises(ConfigError, match="can keep queues, but not a site"):
        open_site("amqp://localhost")
    assert broker.closed
