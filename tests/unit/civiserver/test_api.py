"""APIv4 of the Python site: what the transcripts do not show of entities and actions (contract A3)."""

import pytest
from support.queue_client import Client, refused

from coworker.civiserver.fields import CONTACT
from coworker.civiserver.site_store import open_site
from coworker.queues.stores.base import Abilities


@pytest.fixture
def site():
    site = open_site("memory:")
    yield site
    site.close()


@pytest.fixture
def client(site):
    return Client(site)


@pytest.mark.parametrize(
    ("entity", "action", "message"),
    [
        ("Nope", "get", "API (Nope, get) does not exist (or the extension it belongs to is not enabled)."),
        ("Queue", "nope", "Api Queue nope version 4 does not exist."),
        ("Queue", "create", 'Parameter "values" is required.'),
        ("Queue", "update", 'Parameter "values" is required.'),
        ("Queue", "delete", 'Parameter "where" is required.'),
        ("Queue", "run", 'Parameter "queue" is required.'),
        ("Queue", "reset", 'Parameter "queue" is required.'),
        ("Setting", "set", 'Parameter "values" is required.'),
    ],
)
def test_calls_that_are_refused(client, entity, action, message):
    assert refused(client.api4, entity, action) == message


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"id": 1}, "Queue items must be given as numeric array."),
        ([{"id": 1}], "Queue item requires property 'queue'."),
        ([{"queue": "q"}], "Queue item requires property 'id'."),
        (
            [{"id": 1, "queue": "a"}, {"id": 2, "queue": "b"}],
            "Queue items cannot be mixed. Found queues: a, b",
        ),
    ],
)
def test_run_items_wants_stubs(client, items, message):
    assert refused(client.api4, "Queue", "runItems", items=items) == message


@pytest.mark.parametrize(
    ("version", "entity", "action", "message"),
    [
        ("5.77", "QueueItem", "get", "API (QueueItem, get) does not exist (or the"),
        ("6.3", "QueueItem", "get", "API (QueueItem, get) does not exist (or the"),
        ("5.77", "Queue", "reset", "Api Queue reset version 4 does not exist."),
        ("5.66", "Queue", "run", "Api Queue run version 4 does not exist."),
    ],
)
def test_what_older_releases_lack(site, version, entity, action, message):
    assert refused(Client(site, version=version).api4, entity, action).startswith(message)


def test_a_store_without_statistics_does_not_offer_what_counts(site):
    site.queues.abilities = Abilities(statistics=False)
    assert refused(Client(site).api4, "Queue", "run", queue="q") == "Api Queue run version 4 does not exist."


def test_claim_items_selects(client, site):
    client.service.create_queue("q")
    client.service.push("q", "a:b", 1, title="T", run_as={"contactId": 2})
    assert client.api4("Queue", "claimItems", queue="q", select=["run_as", "id", "nonesuch"]) == [
        {"run_as": {"contactId": 2}, "id": "1"}
    ]
    client.service.push("q", "a:b", 1, title="T")
    assert client.api4("Queue", "claimItems", queue="q") == [
        {"id": "2", "data": {"callback": "a:b", "arguments": [1], "title": "T", "runAs": None}, "queue": "q"}
    ]
    client.service.push("q", "a:b")
    old = Client(site, version="5.55")
    assert old.api4("Queue", "claimItems", queue="q", select=["id", "run_as"]) == [{"id": "3"}]


def test_many_items_in_one_call(client):
    records = [{"data": {"callback": "a:b", "arguments": [number]}} for number in range(1000)]
    saved = client.api4("QueueItem", "save", records=records, defaults={"queue_name": "q", "weight": 2})
    assert [row["id"] for row in saved] == list(range(1, 1001))
    assert client.service.items("q")[-1]["data"]["arguments"] == [999]
    assert client.service.store.statistics("q").total == 1000


def test_save_updates_what_has_an_id_or_matches(client):
    client.api4("Queue", "create", values={"name": "q", "type": "SqlParallel"})
    records = [{"name": "q", "type": "SqlParallel", "batch_limit": 9}, {"name": "r", "type": "Sql"}]
    client.api4("Queue", "save", records=records, match=["name"])
    client.api4("Queue", "save", records=[{"id": 2, "lease_time": 60}])
    rows = client.api4("Queue", "get", select=["name", "batch_limit", "lease_time"])
    assert [tuple(row.values()) for row in rows] == [(1, "q", 9, 3600), (2, "r", 1, 60)]


def test_create_shows_what_was_given_and_leaves_unknown_fields_out(client):
    values = {"queue_name": "q", "data": {"callback": "a:b"}, "release_time": "20300101000000", "nonesuch": 1}
    assert client.api4("QueueItem", "create", values=values) == [
        {
            "id": 1,
            "queue_name": "q",
            "data": {"callback": "a:b"},
            "release_time": "20300101000000",
            "custom": None,
            "check_permissions": None,
        }
    ]


@pytest.mark.parametrize(
    ("entity", "values", "message"),
    [
        ("Queue", {"name": "q"}, "Mandatory values missing from Api4 Queue::create: type"),
        ("QueueItem", {"weight": 1}, "Mandatory values missing from Api4 QueueItem::create: queue_name"),
        ("QueueItem", {"queue_name": "q", "weight": "x"}, 'Field "weight" cannot be'),
        ("QueueItem", {"queue_name": "q", "release_time": "soon"}, "is not a time"),
        ("Contact", {"id": 1}, "DB Error: already exists"),
    ],
)
def test_what_cannot_be_created(client, entity, values, message):
    assert message in refused(client.api4, entity, "create", values=values)


def test_update_and_delete_say_which_rows(client):
    for _ in range(3):
        client.service.push("q", "a:b")
    where = [["id", "IN", ["1", "3", "9"]], ["queue_name", "=", "q"], ["run_count", "=", 0]]
    values = {"release_time": "2030-01-01 00:00:00", "run_count": 4}
    assert [row["id"] for row in client.api4("QueueItem", "update", where=where, values=values)] == [1, 3]
    assert client.api4("QueueItem", "update", where=where, values=values) == []
    assert client.api4("QueueItem", "delete", where=[["run_count", "=", 4]]) == [{"id": 1}, {"id": 3}]
    assert [row["id"] for row in client.service.items("q")] == [2]


def test_update_selects_first_and_does_not_look_again(client, site, monkeypatch):
    """As in CiviCRM: what changes between the SELECT and the UPDATE is overwritten."""
    client.service.push("q", "a:b")
    find = site.find

    def find_and_be_overtaken(query):
        rows = find(query)
        site.queues.file.change("UPDATE civicrm_queue_item SET run_count = 7")
        return rows

    monkeypatch.setattr(site, "find", find_and_be_overtaken)
    where = [["id", "=", 1], ["run_count", "=", 0]]
    assert len(client.api4("QueueItem", "update", where=where, values={"run_count": 1})) == 1
    assert site.queues.file.rows("SELECT run_count FROM civicrm_queue_item") == [(1,)]


def test_get_fields_can_be_asked_for_one_field(client):
    where = [["name", "=", "agent"]]
    assert client.api4("Queue", "getFields", where=where) == []
    (field,) = client.api4("QueueItem", "getFields", where=[["name", "=", "run_count"]])
    assert (field["data_type"], field["default_value"]) == ("Integer", 0)


def test_domain_says_which_domain_and_the_clock(site):
    client = Client(site, domain=3)
    (row,) = client.api4("Domain", "get", select=["id", "version", "NOW() AS now"], currentDomain=True)
    assert (row["id"], row["version"], len(row["now"])) == (3, "6.13.3", 19)
    assert [row["id"] for row in client.api4("Domain", "get")] == [1, 3]


def test_settings_are_read_once_but_pausing_works_at_once(client, site):
    other = Client(site)
    names = ["environment", "queue_paused", "core_maintenance_mode"]
    assert [row["value"] for row in client.api4("Setting", "get", select=names)] == ["Production", False, "0"]
    other.api4("Setting", "set", values={"queue_paused": True})
    assert client.api4("Setting", "get", select=["queue_paused"])[0]["value"] is False
    assert other.api4("Setting", "get", select=["queue_paused"])[0]["value"] is True
    assert Client(site).api4("Setting", "get", select=["queue_paused"])[0]["value"] is True
    client.service.create_queue("q")
    client.service.push("q", "a:b")
    assert client.api4("Queue", "claimItems", queue="q") == []
    other_domain = Client(site, domain=2)
    assert len(other_domain.api4("Queue", "claimItems", queue="q")) == 1


@pytest.mark.parametrize(("version", "name"), [("5.77", "core_maintenance_mode"), ("6.13.3", "nope")])
def test_an_unknown_setting_fails_the_whole_call(site, version, name):
    client = Client(site, version=version)
    message = refused(client.api4, "Setting", "get", select=["environment", name])
    assert message == f"Unknown settings for domain 1: {name}"


def test_contacts_can_be_made_and_read(client, site):
    site.delete(CONTACT, [1])
    client.api4("Contact", "create", values={"id": 100, "user_id": 5})
    assert client.api4("Contact", "get", where=[["id", "=", 100]]) == [
        {"id": 100, "user_id": 5, "is_blocked": False}
    ]


def test_a_lost_store_is_an_error_and_the_pipe_goes_on(tmp_path):
    path = tmp_path / "queue.db"
    client = Client(open_site(f"sqlite:///{path}"))
    path.rename(tmp_path / "gone.db")
    assert refused(client.api4, "Queue", "get").startswith("DB Error: ")
    assert client.call("echo", ["still here"]) == ["still here"]
