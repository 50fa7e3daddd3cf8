# ruff: noqa: F401, F811 (fixtures are imported by name)
"""The client and the queue calls against the Python site, as two versions of CiviCRM."""

import os
import shlex
import sys
from pathlib import Path

import pytest
from support.pipe_helpers import poller, soon

from coworker.civi import queues
from coworker.civi.client import Client
from coworker.civi.features import active_queues
from coworker.civi.looking import Looker
from coworker.civi.pipe import Pipe, PipeEndedError
from coworker.civiserver.release import Release
from coworker.civiserver.service import QueueService
from coworker.civiserver.site_store import open_site
from coworker.errors import CallError
from coworker.model import SYSTEM, Identity, Item, Outcome

ROOT = Path(__file__).parents[2]


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/site.db"


@pytest.fixture
def service(url):
    site = open_site(url)
    yield QueueService(site, Release("6.13.3"))
    site.close()


@pytest.fixture
def connect(url, poller):
    pipes = []

    def connect(version="6.13.3"):
        arguments = ["-m", "coworker", "pipe", "--store", url, "--as-version", version, "vtl"]
        command = "exec " + shlex.join([sys.executable, *arguments])
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipes.append(Pipe(command, cwd=ROOT / "tests", env=env, poller=poller))
        client = Client(pipes[-1], call_timeout=10)
        assert client.handshake(minimum_version="5.51", deadline=soon(10)).version == version
        return client

    yield connect
    for pipe in pipes:
        pipe.kill()


@pytest.mark.parametrize("version", ["6.13.3", "5.77.beta1"])
def test_look_claim_run(connect, service, version):
    service.create_queue("par", batch_limit=2, lease_time=100, retry_interval=7)
    service.create_queue("lin", type="Sql")
    service.create_queue("empty")
    service.create_queue("idle", status="draft")
    for name in ("par", "par", "par", "lin", "lin", "idle"):
        service.push(name, "support.tasks:succeed")
    client = connect(version)
    looker = Looker(client)
    assert looker.has_queue_item is (version == "6.13.3")

    found, seconds = looker.look()
    assert {info.name: info.linear for info in found} == {"par": False, "lin": True}
    active = active_queues(client)
    assert {info.name: info for info in found} == {name: active[name] for name in ("par", "lin")}
    assert active["par"].lease_time == 100
    assert 0 < seconds < 5
    assert [info.name for info in looker.look({"par"}).queues] == ["lin"]

    first = queues.claim(client, "par")
    second = queues.claim(client, "par")
    assert [len(first), len(second)] == [2, 1]
    assert [info.name for info in looker.look().queues] == ["lin"]
    outcomes = queues.run(client, "par", [item.id for item in first])
    assert outcomes == {item.id: Outcome.OK for item in first}
    assert outcomes.oddities == []
    assert client.take_noise() == ""


def test_a_linear_queue_with_a_leased_head_is_not_ready(connect, service):
    service.create_queue("lin", type="Sql")
    for _ in range(3):
        service.push("lin", "support.tasks:succeed")
    client = connect()
    assert len(queues.claim(client, "lin")) == 1
    assert Looker(client).look().queues == []
    old = Looker(connect("5.77"))
    assert len(old.look().queues) == 1  # the counts leave it open, so it is tried once
    assert old.look().queues == []


def test_noise_and_failure(connect, service):
    service.create_queue("q", batch_limit=2)
    service.push("q", "support.tasks:say", "half a line")
    service.push("q", "support.tasks:throw")
    client = connect()
    items = queues.claim(client, "q")
    assert list(queues.run(client, "q", [item.id for item in items]).values()) == [Outcome.OK, Outcome.DELETE]
    assert "half a line" in client.take_noise()


def test_identities(connect, service):
    service.create_queue("q", batch_limit=2)
    service.push("q", "support.tasks:succeed", run_as={"contactId": 2, "domainId": 1})
    service.push("q", "support.tasks:succeed")
    items = queues.claim(connect(), "q")
    assert items == [Item("1", Identity(2, 1)), Item("2", SYSTEM)]


def test_settling(connect, service):
    service.create_queue("q", batch_limit=3)
    for callback in ("succeed", "exit_with", "succeed"):
        service.push("q", f"support.tasks:{callback}")
    client = connect()
    items = [item.id for item in queues.claim(client, "q")]
    with pytest.raises(PipeEndedError, match="exit status 3"):
        queues.run(client, "q", items)
    client.kill()

    client = connect()
    found, now = queues.ApiRows(client).rows("q", items)
    assert [row.id for row in found] == items[1:]
    assert all(row.run_count == 1 and row.release_time > now for row in found)
    between = queues.ApiRows(client).released_between("q", found[0].release_time, found[1].release_time)
    assert between.rows == found

    def give_back(row):
        values = {"run_count": row.run_count - 1, "release_time": None}
        return queues.ApiRows(client).update("q", [row], values)

    assert give_back(found[0])
    assert not give_back(found[0])
    found, _ = queues.ApiRows(client).rows("q", items)
    assert [(row.run_count, row.release_time is None) for row in found] == [(0, True), (1, False)]
    assert give_back(found[1])


def test_errors_of_calls(connect):
    client = connect()
    with pytest.raises(CallError):
        queues.claim(client, "nonesuch")
    answers = client.api4_batch([("Queue", "get", {}), ("Queue", "nosuch", {}), ("Queue", "get", {})])
    assert [isinstance(answer, CallError) for answer in answers] == [False, True, False]
