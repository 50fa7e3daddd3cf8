"""Queues: which items a call gets and what it says of them (contract A3, A4)."""

import json

import pytest
from support import tasks
from support.queue_rules import make_service, rows, run

from coworker.civiserver.errors import ApiError
from coworker.civiserver.release import Release
from coworker.model import SYSTEM, Outcome
from coworker.queues.stores.base import Abilities
from coworker.queues.task import Task

make = make_service
OK = Outcome.OK


@pytest.fixture
def service(make):
    return make()


@pytest.mark.parametrize("queue_status", ["aborted", "draft", "completed", "paused"])
def test_queues_that_are_not_active_give_nothing(service, queue_status):
    service.create_queue("q")
    service.push("q", "support.tasks:note")
    if queue_status == "paused":
        service.site.set_setting(1, "queue_paused", True)
    else:
        service.store.set_status("q", queue_status)
    assert service.claim("q") == []
    assert service.run_next("q") == []
    assert service.status("q") == queue_status
    assert rows(service) == [(1, None, 0)]


def test_run_items_checks_neither_status_nor_lease(service):
    service.create_queue("q")
    service.push("q", "support.tasks:note")
    service.store.set_status("q", "draft")
    assert service.run_claimed("q", [1]) == [(1, OK)]


def test_items_run_in_order_of_id_and_the_gone_ones_are_left_out(service):
    service.create_queue("q", batch_limit=3)
    for number in (1, 2, 3):
        service.push("q", "support.tasks:note", number)
    service.store.remove("q", 2)
    assert service.run_claimed("q", [3, 2, 1]) == [(1, OK), (3, OK)]
    assert service.run_claimed("q", [1, 3]) == []
    assert [arguments for _, arguments in tasks.seen] == [(1,), (3,)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"error": None}, 'Failed to create queue "q". Invalid error mode "".'),
        ({"error": "drop"}, 'Failed to create queue "q". Invalid error mode "drop".'),
        ({"status": "busy"}, 'Failed to create queue "q". Invalid queue status "busy".'),
        ({"type": "Sql", "batch_limit": 2}, 'Queue "q" (CRM_Queue_Queue_Sql) does not support batching.'),
        ({"type": "Telepathy"}, 'Class "CRM_Queue_Queue_Telepathy" does not exist'),
    ],
)
def test_queues_that_fail_at_every_claim(service, settings, message):
    service.create_queue("q", **settings)
    for _ in range(2):
        with pytest.raises(ApiError) as refused:
            service.claim("q")
        assert str(refused.value) == message


def test_several_items_of_a_linear_queue_cannot_run_at_once(service):
    service.create_queue("q", type="Sql")
    with pytest.raises(ApiError, match="requires BatchQueueInterface"):
        service.run_claimed("q", [1, 2])


def test_an_unknown_queue_is_asked_for_again_next_time(service):
    with pytest.raises(ApiError, match=r'Failed to create queue "q"\. Missing field "type"\.'):
        service.claim("q")
    service.create_queue("q")
    assert service.claim("q") == []


def test_settings_of_a_queue_are_remembered_its_status_is_not(service, make):
    service.create_queue("q", batch_limit=1)
    service.push_all("q", [Task("support.tasks:note")] * 4)
    assert len(service.claim("q")) == 1
    service.store.file.change("UPDATE civicrm_queue SET batch_limit = 3")
    assert len(service.claim("q")) == 1
    assert len(make().claim("q")) == 2


def test_the_domain_is_that_of_the_process(make):
    service = make(domain=2)
    service.create_queue("q")
    service.push("q", "support.tasks:note", run_as={"domainId": 2})
    assert run(service) == [OK]
    assert tasks.seen[0][0].domain == 2


def test_run_loop_counts(service):
    service.create_queue("q", batch_limit=2)
    service.push_all("q", [Task("support.tasks:note")] * 3 + [Task("support.tasks:throw")])
    result = service.run_loop("q", None, None, SYSTEM)
    result.pop("loop_duration")
    assert result == {
        "loop_requests": 3,
        "item_successes": 3,
        "item_errors": 1,
        "queue_ready": 0,
        "queue_blocked": 0,
        "queue_total": 0,
        "exit_message": "No claimable items",
    }


@pytest.mark.parametrize(
    ("requests", "duration", "message"),
    [
        (0, 120, "Reached request limit (0)"),
        (10, 0, "Reached duration limit (0)"),
        (-1, -1, "No claimable items"),
    ],
)
def test_run_loop_limits(service, requests, duration, message):
    service.create_queue("q")
    service.push_all("q", [Task("support.tasks:note")] * 2)
    service.push("q", "support.tasks:note", release_time="+60 seconds")
    result = service.run_loop("q", requests, duration, SYSTEM)
    assert result["exit_message"] == message
    assert (result["queue_total"], result["queue_blocked"]) == ((1, 1) if message[0] == "N" else (3, 1))


def test_run_loop_says_why_it_does_not_begin_and_what_stopped_it(service):
    service.create_queue("q", status="draft")
    assert service.run_loop("q", 1, 1, SYSTEM)["exit_message"] == "Queue is not active (status => draft)"
    service.create_queue("r", runner="theirs")
    service.push("r", "support.tasks:note")
    result = service.run_loop("r", 1, 1, SYSTEM)
    assert result["item_errors"] == 1
    assert result["exit_message"].startswith("Queue-item raised unhandled exception (ApiError: Failed to run")


def test_push_keeps_what_json_keeps(service):
    service.create_queue("q")
    service.push("q", "a:b", "é/\u2603", {"x": [None, 1.5]}, weight=4, release_time="2030-01-01 00:00:00")
    (item,) = service.items("q")
    assert item["data"]["arguments"] == ["é/\u2603", {"x": [None, 1.5]}]
    assert (item["weight"], item["release_time"]) == (4, "2030-01-01 00:00:00")
    assert list(item["data"]) == ["callback", "arguments", "title", "runAs"]
    assert json.dumps(item["data"])


def test_a_store_without_order_has_no_linear_queues(service):
    service.store.abilities = Abilities(order=False)
    service.create_queue("q", type="Sql")
    service.create_queue("r")
    with pytest.raises(ApiError, match='Queue "q" is linear, and its store keeps no order'):
        service.claim("q")
    assert service.claim("r") == []


@pytest.mark.parametrize("version", ["six", "", "6"])
def test_a_version_that_is_none(version):
    with pytest.raises(ValueError, match="is not a CiviCRM version"):
        Release(version)
