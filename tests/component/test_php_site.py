"""The PHP site answers as CiviCRM did (transcripts), and works on the Python site's store."""

import json
import shlex
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from support import recorded
from support.php_site import LAYOUTS, PHP_SITE, PhpSite
from support.pipe_helpers import poller, soon, start  # noqa: F401
from support.replay import Player
from support.transcript import Kind, parse

from coworker.civi import queues
from coworker.civi.client import Client
from coworker.civi.pipe import PipeEndedError
from coworker.civiserver.fields import CONTACT
from coworker.errors import CallError
from coworker.model import Outcome

SECRET = {"X-Civi-Auth": "Bearer SECRET", "X-Requested-With": "XMLHttpRequest"}
MASKED = "Sorry an error occurred"


@pytest.fixture
def site(tmp_path):
    return PhpSite(tmp_path)


@pytest.fixture
def connect(start):  # noqa: F811
    def connect(site, contact=None, command=None):
        client = Client(start(command or site.command()), call_timeout=30.0)
        client.handshake(minimum_version="5.51", deadline=soon())
        if contact is not None:
            client.login(contact)
        return client

    return connect


# --- as it was recorded ---


class PhpPlayer(Player):
    """Plays against the PHP site. Its store lies where Player's own is."""

    def __init__(self, site, *arguments):
        self._site = site
        super().__init__(site.directory, *arguments)

    def _start(self, step):
        command = shlex.split(self._site.command(flags=step.text))[1:]
        self._pipe = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._output = b""


@pytest.mark.parametrize(("version", "name"), recorded.SESSIONS)
def test_every_line_is_as_recorded(tmp_path, version, name):
    release = recorded.AS_VERSION[version]
    queue_db = tmp_path / "queue.db"
    site = PhpSite(tmp_path, version=release, queue_item=release == "6.13.3", store=str(queue_db))
    player = PhpPlayer(site, release, recorded.ACTIONS, {recorded.CLAIM_LOST: recorded.free_items("lost")},
                       recorded.WORDING, set(recorded.EXCEPTIONS.values()))  # fmt: skip
    if version == "civicrm-5.77":
        player.service.site.delete(CONTACT, [2])  # that site had only its own contact
    steps = parse(recorded.read(version, name))
    player.play(steps)
    counted = {Kind.RECEIVE, Kind.ROWS, Kind.CLOSE, Kind.END}
    assert player.compared + len(player.excused) == sum(step.kind in counted for step in steps)


# --- the same store as Python ---


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_python_pushed_is_run_by_php_in_every_layout(tmp_path, connect, layout):
    site = PhpSite(tmp_path, layout)
    site.queue("q", batch_limit=2)
    site.push("q", "empty", times=3)
    client = connect(site, command=site.pipe_command())
    items = [item.id for item in queues.claim(client, "q")]
    assert items == ["1", "2"]
    assert queues.run(client, "q", items) == {"1": Outcome.OK, "2": Outcome.OK}
    assert site.rows("q") == {"3": (0, None)}
    assert [line[:4] for line in site.written()[:2]] == [
        ["start", "1", "q", "system"],
        ["end", "1", "q", "system"],
    ]


def outcomes(client, queue):
    return list(queues.run(client, queue, [item.id for item in queues.claim(client, queue)]).values())


def test_failures_follow_the_policy_of_the_queue(site, connect):
    site.queue("retry", retry_limit=1, retry_interval=60)
    site.queue("delete")
    site.queue("abort", error="abort", batch_limit=3)
    client = connect(site)
    for name in ("retry", "delete", "abort"):
        site.push(name, "fail", times=3 if name == "abort" else 1)
    assert outcomes(client, "retry") == ["retry"]
    ((run_count, released),) = site.rows("retry").values()
    assert run_count == 1
    assert abs(released - time.time() - 60) < 5
    assert outcomes(client, "delete") == ["delete"]
    assert outcomes(client, "abort") == ["abort", "relinquish", "relinquish"]
    assert list(site.rows("abort").values()) == [(1, None), (0, None), (0, None)]
    assert site.left("delete") == 0
    assert queues.claim(client, "abort") == []


@pytest.mark.parametrize(("policy", "left"), [("delete", 0), ("abort", 1)])
def test_an_exhausted_item_is_not_called(site, connect, policy, left):
    site.queue("q", error=policy)
    site.push("q", "empty")
    site.execute("UPDATE civicrm_queue_item SET run_count = 1")
    assert outcomes(connect(site), "q") == [policy]
    assert site.written() == []
    assert site.left() == left


@pytest.mark.parametrize(
    ("run_as", "contact", "expected"),
    [
        (2, None, "delete"),
        (2, 2, "ok"),
        (3, 2, "delete"),
        ({"contactId": None, "domainId": 1}, None, "ok"),
        ({"contactId": 2, "domainId": 2}, 2, "delete"),
    ],
)
def test_a_task_runs_only_as_its_contact_in_its_domain(site, connect, run_as, contact, expected):
    site.queue("q")
    site.push("q", "empty", run_as=run_as)
    client = connect(site, contact)
    assert outcomes(client, "q") == [expected]
    assert bool(site.written()) == (expected == "ok")


def test_tasks_that_end_the_process_leave_their_lease(site, connect):
    for task, arguments in (("quit", [3]), ("crash", []), ("eat", [500]), ("fatal", [])):
        site.queue(task)
        (item,) = site.push(task, task, *arguments)
        client = connect(site)
        items = [each.id for each in queues.claim(client, task)]
        with pytest.raises(PipeEndedError):
            queues.run(client, task, items)
        client.kill()
        assert site.rows(task)[item][0] == 1


def test_tasks_that_make_noise_or_throw_what_is_odd(site, connect):
    site.queue("q", batch_limit=9, retry_limit=1)
    for task, *arguments in (("shout", "hello", 5), ("complain", "hm"), ("type_error",),
                             ("bad_utf8",), ("flaky", 1), ("say_domain",)):  # fmt: skip
        site.push("q", task, *arguments)
    client = connect(site)
    assert outcomes(client, "q") == ["ok", "ok", "retry", "retry", "retry", "ok"]
    assert "hello" in client.take_noise()


def test_before_6_2_a_type_error_escapes_and_leaves_the_rest_leased(tmp_path, connect):
    site = PhpSite(tmp_path, version="6.1.2", queue_item=False)
    site.queue("q", batch_limit=2)
    site.push("q", "type_error")
    site.push("q", "empty")
    client = connect(site)
    items = [item.id for item in queues.claim(client, "q")]
    with pytest.raises(CallError, match="strlen"):
        queues.run(client, "q", items)
    assert [run_count for run_count, _ in site.rows().values()] == [1, 1]


# --- the API ---


def test_claims_of_many_processes_never_meet(site, connect):
    site.queue("q", batch_limit=5)
    site.push("q", "empty", times=50)
    clients = [connect(site) for _ in range(3)]
    claimed = [item.id for _ in range(5) for client in clients for item in queues.claim(client, "q")]
    assert sorted(claimed, key=int) == [str(n) for n in range(1, 51)]


def test_rows_are_selected_changed_and_counted(site, connect):
    site.queue("a", batch_limit=2)
    site.queue("b", runner=None)
    site.push("a", "empty", times=3)
    client = connect(site)
    first, second = (item.id for item in queues.claim(client, "a"))
    guard = [["queue_name", "=", "a"], ["id", "IN", [first, second]], ["run_count", "=", 1],
             ["release_time", "BETWEEN", ["now", "+2 hours"]]]  # fmt: skip
    back = {"where": guard, "values": {"run_count": 0, "release_time": None}}
    assert [row["id"] for row in client.api4("QueueItem", "update", back)] == [1, 2]
    assert client.api4("QueueItem", "update", back) == []
    assert set(site.rows().values()) == {(0, None)}
    later = {"where": [["id", "=", 1]], "values": {"release_time": "+60 seconds"}}
    client.api4("QueueItem", "update", later)
    either = ["OR", [["release_time", "IS NULL"], ["release_time", "<", "now"]]]
    counted = {"select": ["queue_name", "COUNT(id) AS n"], "groupBy": ["queue_name"], "where": [either]}
    assert client.api4("QueueItem", "get", counted) == [{"queue_name": "a", "n": 2}]
    ordered = {"select": ["id", "NOW() AS now"], "orderBy": {"id": "DESC"}, "limit": 1}
    (row,) = client.api4("QueueItem", "get", ordered)
    assert row["id"] == 3
    assert len(row["now"]) == len("2026-01-01 00:00:00")
    assert client.api4("QueueItem", "delete", {"where": [["id", ">=", 2]]}) == [{"id": 2}, {"id": 3}]
    made = client.api4(
        "QueueItem", "create", {"values": {"queue_name": "a", "data": {"callback": "php:empty"}}}
    )
    assert made[0]["queue_name"] == "a"
    for where, names in (([["runner", "IS NOT EMPTY"]], ["a"]), ([["name", "LIKE", "%B"]], ["b"]),
                         ([["name", "IN", ["a", "b"]]], ["a", "b"]),
                         ([["runner", "IS NULL"]], ["b"])):  # fmt: skip
        found = client.api4("Queue", "get", {"select": ["name"], "where": where})
        assert [row["name"] for row in found] == names
    with pytest.raises(CallError, match="Illegal operator"):
        client.api4("Queue", "get", {"where": [["name", "; DROP", 1]]})


def test_what_is_no_utf8_gives_an_empty_line(site, connect):
    site.execute("INSERT INTO civicrm_queue (name, type) VALUES (CAST(x'ff' AS TEXT), 'Sql')")
    client = connect(site)
    with pytest.raises(CallError):
        client.api4("Queue", "get", {})
    assert client.api4("Domain", "get", {"currentDomain": True})[0]["id"] == 1


def test_before_queueitem_the_counts_come_from_run(tmp_path, connect):
    site = PhpSite(tmp_path, version="5.77.beta1", queue_item=False)
    site.queue("q", error="abort", batch_limit=3)
    site.push("q", "fail", times=2)
    client = connect(site)
    (counts,) = client.api4("Queue", "run", {"queue": "q", "maxRequests": 0})
    assert (counts["queue_ready"], counts["queue_blocked"], counts["queue_total"]) == (2, 0, 2)
    assert outcomes(client, "q") == ["abort", "abort"]
    with pytest.raises(CallError, match=r"API \(QueueItem, get\) does not exist"):
        client.api4("QueueItem", "get", {})
    with pytest.raises(CallError, match="core_maintenance_mode"):
        client.api4("Setting", "get", {"select": ["core_maintenance_mode"]})


def test_settings_are_remembered_and_the_domain_is_read_afresh(tmp_path, connect):
    site = PhpSite(tmp_path, settings={"environment": "Staging"}, claim_error=None)
    site.queue("q")
    site.push("q", "empty")
    client = connect(site)
    wanted = {"select": ["environment"]}
    assert client.api4("Setting", "get", wanted)[0]["value"] == "Staging"
    site.configure(settings={"environment": "Production", "queue_paused": 1}, db_version="6.14.0")
    assert client.api4("Setting", "get", wanted)[0]["value"] == "Staging"
    assert connect(site).api4("Setting", "get", wanted)[0]["value"] == "Production"
    assert client.api4("Domain", "get", {"select": ["version"]})[0]["version"] == "6.14.0"
    assert queues.claim(client, "q") == []
    site.configure(settings={}, claim_error="DB Error: deadlock")
    with pytest.raises(CallError, match="deadlock"):
        queues.claim(client, "q")


def test_mysql_of_the_adapter_works_on_the_store(site):
    php = """
      require $argv[1]; require $argv[2]; CRM_Core_Config::singleton();
      $value = ['CRM_Core_DAO', 'singleValueQuery'];
      $dao = CRM_Core_DAO::executeQuery(
        'UPDATE civicrm_queue_item SET release_time = FROM_UNIXTIME(%1) WHERE id = %2',
        [1 => [123, 'Integer'], 2 => [1, 'Integer']]);
      echo json_encode([$dao->affectedRows(), $value('SELECT ROW_COUNT()'),
        $value('SELECT UNIX_TIMESTAMP(release_time) FROM civicrm_queue_item'),
        $value('SELECT UNIX_TIMESTAMP(NOW())'), $value('SELECT NOW()'),
        $value('SELECT id FROM civicrm_queue WHERE name = %1', [1 => ['x', 'String']])]);
    """
    site.queue("q")
    site.push("q", "empty")
    core = PHP_SITE / "civicrm/core.php"
    done = subprocess.run(["php", "-r", php, site.settings_file, core], capture_output=True, check=True)
    changed, count, released, now, text, nothing = json.loads(done.stdout)
    assert (changed, count, released, nothing) == (1, 1, 123, None)
    assert abs(now - time.time()) < 5
    assert len(text) == len("2026-01-01 00:00:00")


# --- HTTP ---


def ask(url, form=None, headers=SECRET, method=None):
    """(status, content type, body)."""
    data = (
        None if form is None else urllib.parse.urlencode({k: json.dumps(v) for k, v in form.items()}).encode()
    )
    request = urllib.request.Request(
        url, data, headers, method=method or ("POST" if form is not None else "GET")
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.headers["Content-Type"], response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


JSON, HTML = "application/json; charset=UTF-8", "text/html; charset=UTF-8"
TEXT = "text/plain;charset=UTF-8"
API = "/civicrm/ajax/api4/"


def test_http_answers_as_recorded(site):
    site.queue("web1")
    site.push("web1", "empty", times=2)
    claim = {"params": {"queue": "web1", "select": ["id", "queue", "run_as"]}}
    with site.serve() as url:
        status, kind, body = ask(f"{url}/?civiwp=CiviCRM&q=civicrm/ajax/api4/Queue/claimItems", claim)
        assert (status, kind) == (200, JSON)
        assert body == (
            '{"values":[{"id":"1","queue":"web1","run_as":null}],"entity":"Queue","action":"claimItems",'
            '"debug":null,"version":4,"count":1,"countFetched":1}'
        )
        status, _, body = ask(url + API + "Queue/runItems", {"params": {"queue": "web1"}})
        assert json.loads(body)["values"] == [{"outcome": "ok", "item": {"id": "2", "queue": "web1"}}]
        calls = {"a": ["Queue", "get", {"select": ["name"]}], "b": ["Queue", "claimItems", {"queue": "x"}]}
        _, _, body = ask(url + API.rstrip("/"), {"calls": {"0": calls["a"], "1": calls["a"]}})
        assert [each["count"] for each in json.loads(body)] == [1, 1], "such keys make a list in PHP"
        status, _, body = ask(url + API.rstrip("/"), {"calls": calls})
        answers = json.loads(body)
        assert (status, answers["a"]["values"]) == (200, [{"id": 1, "name": "web1"}])
        assert answers["b"]["error_message"] == 'Failed to create queue "x". Missing field "type".'
        status, _, body = ask(url + "/civicrm/authx/id")
        assert (status, json.loads(body)) == (
            200,
            {"contact_id": 2, "user_id": 1, "flow": "xheader", "cred": "api_key"},
        )
        names = urllib.parse.quote('{"select":["name"]}')
        assert ask(f"{url}{API}Queue/get?params={names}")[0] == 200


@pytest.mark.parametrize(
    ("path", "form", "headers", "expected", "says"),
    [
        (API + "Queue/claimItems", {"params": {"queue": "x"}}, SECRET, (500, JSON), "Missing field"),
        (API + "Queue/zz", {"params": {}}, SECRET, (200, HTML), "<style"),
        (API + "Queue/claimItems", {"params": "text"}, SECRET, (200, HTML), "<style"),
        ("/elsewhere", {}, SECRET, (200, HTML), "<!DOCTYPE html>"),
        (API + "Queue/get", {}, {"X-Requested-With": "XMLHttpRequest"}, (403, JSON), MASKED),
        (API + "Queue/get", {}, {"X-Civi-Auth": "Bearer jwt.2.1"}, (401, TEXT), "HTTP 401"),
        (API + "Queue/get", {}, {"Authorization": "Bearer SECRET"}, (400, JSON), "SECURITY ALERT"),
        (API + "Queue/claimItems", None, SECRET, (405, JSON), "must be http POST"),
        (API + "Queue/get", {}, {"X-Civi-Auth": "Bearer jwt.2.9999999999"}, (200, JSON), '"values":[]'),
        (API + "Queue/get", {}, {"X-Civi-Auth": "Bearer jwt.3.9999999999"}, (403, JSON), MASKED),
    ],
)  # fmt: skip
def test_http_refuses_as_recorded(site, path, form, headers, expected, says):
    with site.serve() as url:
        status, kind, body = ask(url + path, form, headers)
    assert ((status, kind), says in body) == (expected, True)


def test_http_maintenance_and_faults(site):
    with site.serve() as url:
        site.configure(core_maintenance_mode=1)
        status, _, body = ask(url + API + "Queue/get", {})
        assert (status, json.loads(body)["status_code"]) == (503, 503)
        site.configure(core_maintenance_mode=0)
        for fault, status in (("500html", 500), ("502", 502), ("504", 504), ("401", 401), ("429", 429)):
            site.configure(http_fault=fault, http_fault_on="claim")
            assert ask(url + API + "Queue/claimItems", {})[0] == status
            assert ask(url + API + "Queue/get", {})[0] == 200
        site.configure(http_fault=f"redirect:{url}/elsewhere", http_fault_on="")
        assert "home page" in ask(url + API + "Queue/get", {})[2]


def test_a_token_that_a_pipe_made_is_good_over_http(site, connect):
    (made,) = connect(site).api4("AuthxCredential", "create", {"contactId": 2, "ttl": 60})
    with site.serve() as url:
        where = {"params": {"where": [["id", "=", "user_contact_id"]]}}
        _, _, body = ask(url + API + "Contact/get", where, {"X-Civi-Auth": made["cred"]})
    assert json.loads(body)["values"] == [{"id": 2}]
