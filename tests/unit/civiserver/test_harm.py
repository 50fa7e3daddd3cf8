"""Where CiviCRM lets a daemon do harm, the Python site lets it too: else tests here would prove nothing.

| CiviCRM (contract A3, A4) | tested |
|---|---|
| a claim that was never run counts as a try | test_runner.py, and below for every limit |
| an exhausted item is deleted unrun, or its queue aborted | test_runner.py (poisoned), and below |
| runItems checks neither status nor lease | test_service.py (status), below (lease) |
| QueueItem.update selects, then updates by id | test_api.py (one connection), below (several) |
| `Sql` looks only at its head | test_sqlite.py |
| a queue's settings are cached, its status is not | test_service.py |
| the site's clock is its own | test_python_site.py, test_query.py, below (leases) |
"""

import pytest
from support import tasks
from support.queue_client import Client
from support.queue_rules import let_go, make_service, rows, run

from coworker.civiserver.site_store import open_site
from coworker.model import Outcome
from coworker.queues.task import Task

make = make_service
NOTE = Task("support.tasks:note")
OK, DELETE, ABORT, RELINQUISH = Outcome.OK, Outcome.DELETE, Outcome.ABORT, Outcome.RELINQUISH


@pytest.fixture
def service(make):
    return make()


@pytest.fixture
def connect(tmp_path):
    """A function that connects to one site, with a clock so many seconds ahead."""
    opened = []

    def connect(offset=0.0):
        opened.append(open_site(f"sqlite:///{tmp_path}/site.db", clock_offset=offset))
        return Client(opened[-1])

    tasks.seen.clear()
    yield connect
    for site in opened:
        site.close()


def of(client):
    """{id: (run_count, release_time)} as the API shows them."""
    found = client.api4("QueueItem", "get", select=["run_count", "release_time"])
    return {row["id"]: (row["run_count"], row["release_time"]) for row in found}


@pytest.mark.parametrize("retry_limit", [0, 1, 3])
@pytest.mark.parametrize("error", ["delete", "abort"])
def test_each_lost_claim_is_a_try_and_one_too_many_ends_the_item_unrun(service, retry_limit, error):
    service.create_queue("q", retry_limit=retry_limit, error=error, retry_interval=9)
    service.push_all("q", [NOTE])
    for _ in range(retry_limit + 1):
        assert service.claim("q")
        let_go(service)
    assert run(service) == [DELETE if error == "delete" else ABORT]
    assert tasks.seen == []
    assert service.status("q") == ("active" if error == "delete" else "aborted")
    assert rows(service) == ([] if error == "delete" else [(1, 9, retry_limit + 2)])


@pytest.mark.parametrize("retry_limit", [0, 1, 3])
def test_the_last_try_is_still_run(service, retry_limit):
    service.create_queue("q", retry_limit=retry_limit)
    service.push_all("q", [NOTE])
    for _ in range(retry_limit):
        service.claim("q")
        let_go(service)
    assert run(service) == [OK]
    assert len(tasks.seen) == 1


def test_an_exhausted_item_in_a_batch_harms_the_others_only_where_it_aborts_the_queue(service):
    for queue, error in (("mild", "delete"), ("hard", "abort")):
        service.create_queue(queue, error=error, batch_limit=3)
        ids = service.push_all(queue, [NOTE] * 3)
        service.store.file.change("UPDATE civicrm_queue_item SET run_count = 1 WHERE id = ?", [ids[1]])
    assert run(service, "mild") == [OK, DELETE, OK]
    assert run(service, "hard") == [OK, ABORT, RELINQUISH]
    assert [row[1:] for row in rows(service, "hard")] == [(None, 2), (None, 0)]


def test_an_item_that_another_has_leased_is_run_all_the_same(connect):
    one, other = connect(), connect()
    one.service.create_queue("q")
    one.service.push("q", "support.tasks:note")
    assert len(one.api4("Queue", "claimItems", queue="q")) == 1
    assert other.api4("Queue", "claimItems", queue="q") == []
    (answer,) = other.api4("Queue", "runItems", items=[{"id": 1, "queue": "q"}])
    assert answer["outcome"] == "ok"
    assert len(tasks.seen) == 1


def test_a_request_that_is_sent_twice_runs_what_was_left_for_a_retry_twice(connect):
    client = connect()
    client.service.create_queue("q", retry_limit=3, retry_interval=600)
    client.service.push("q", "support.tasks:throw")
    client.api4("Queue", "claimItems", queue="q")
    outcomes = [client.api4("Queue", "runItems", items=[{"id": 1, "queue": "q"}]) for _ in range(2)]
    assert [answer[0]["outcome"] for answer in outcomes] == ["retry", "retry"]


def overtake(client, act):
    """`act` is done once, between the SELECT and the UPDATE of this client's next update."""
    site = client.service.site
    update = site.update

    def overtaken(*arguments):
        site.update = update
        act()
        update(*arguments)

    site.update = overtaken


def test_an_update_frees_what_another_has_claimed_between_its_select_and_its_update(connect):
    settling, other, third = connect(), connect(), connect()
    settling.service.create_queue("q")
    settling.service.push("q", "support.tasks:note", release_time="-1 minute")
    overtake(settling, lambda: other.api4("Queue", "claimItems", queue="q"))
    where = [["id", "=", 1], ["queue_name", "=", "q"], ["run_count", "=", 0]]
    values = {"release_time": None, "run_count": 0}
    assert len(settling.api4("QueueItem", "update", where=where, values=values)) == 1
    assert of(settling) == {1: (0, None)}, "the other's lease and try are gone"
    assert len(third.api4("Queue", "claimItems", queue="q")) == 1, "so it is claimed twice"


def test_an_update_whose_guard_does_not_match_any_more_changes_nothing(connect):
    settling, other = connect(), connect()
    settling.service.create_queue("q")
    settling.service.push("q", "support.tasks:note", release_time="-1 minute")
    ((run_count, release_time),) = of(settling).values()
    other.api4("Queue", "claimItems", queue="q")
    leased = of(other)
    guards = ["run_count", "=", run_count], ["release_time", "=", release_time]
    for guard in guards:
        where = [["id", "=", 1], ["queue_name", "=", "q"], guard]
        assert settling.api4("QueueItem", "update", where=where, values={"release_time": None}) == []
    assert of(settling) == leased


def test_an_update_of_what_has_ended_meanwhile_does_not_bring_it_back(connect):
    settling, other = connect(), connect()
    settling.service.create_queue("q")
    settling.service.push("q", "support.tasks:note")
    overtake(settling, lambda: other.api4("QueueItem", "delete", where=[["id", "=", 1]]))
    settling.api4("QueueItem", "update", where=[["id", "=", 1]], values={"run_count": 0})
    assert of(settling) == {}


def test_a_lease_is_as_long_as_the_clock_of_whoever_looks_says(connect):
    usual, ahead = connect(), connect(offset=3700)
    usual.service.create_queue("q", lease_time=3600)
    usual.service.push("q", "support.tasks:note")
    assert len(usual.api4("Queue", "claimItems", queue="q")) == 1
    assert usual.api4("Queue", "claimItems", queue="q") == []
    assert len(ahead.api4("Queue", "claimItems", queue="q")) == 1
