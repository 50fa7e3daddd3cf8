"""The queue rules: retries, errors, abort, identities, as CiviCRM has them (contract A3, A4)."""

import json
import os

import pytest
import queue_tasks

from coworker.model import SYSTEM, Identity, Outcome
from coworker.queues.errors import ApiError
from coworker.queues.release import Release
from coworker.queues.service import QueueService
from coworker.queues.store import open_store
from coworker.queues.task import Task

OK, RETRY, DELETE, ABORT, RELINQUISH = (
    Outcome.OK,
    Outcome.RETRY,
    Outcome.DELETE,
    Outcome.ABORT,
    Outcome.RELINQUISH,
)


@pytest.fixture
def make():
    """A function that makes a service of some release, with one store for all of them."""
    store = open_store("memory:")
    queue_tasks.seen.clear()
    yield lambda version="6.13.3", **more: QueueService(store, Release(version), **more)
    store.close()


@pytest.fixture
def service(make):
    return make()


def rows(service, queue="q"):
    now = service.store.now()
    text = "SELECT id, release_time, run_count FROM civicrm_queue_item WHERE queue_name = ? ORDER BY id"
    found = service.store._db.execute(text, [queue]).fetchall()
    return [(item_id, release and release - now, count) for item_id, release, count in found]


def run(service, queue="q", identity=SYSTEM):
    """Claim a batch and run it: the outcomes."""
    claimed = service.claim(queue)
    return [outcome for _, outcome in service.run_claimed(queue, [item.id for item in claimed], identity)]


def let_go(service, queue="q"):
    """As if every lease had ended."""
    service.store._db.execute(
        "UPDATE civicrm_queue_item SET release_time = NULL WHERE queue_name = ?", [queue]
    )


def test_a_task_gets_its_context_and_arguments(service):
    service.create_queue("q")
    item_id = service.push(
        "q", "queue_tasks:note", 1, "two", {"three": []}, title="A task", run_as={"contactId": 2, "domainId": 1}
    )
    assert run(service, identity=Identity(2, 1)) == [OK]
    ((ctx, arguments),) = queue_tasks.seen
    assert arguments == (1, "two", {"three": []})
    assert (ctx.queue, ctx.item_id, ctx.title, ctx.run_count, ctx.contact, ctx.domain) == (
        "q",
        str(item_id),
        "A task",
        1,
        2,
        1,
    )
    assert rows(service) == []


def test_a_callback_may_be_a_method(service):
    service.create_queue("q")
    service.push("q", "queue_tasks:Kept.deep")
    assert run(service) == [OK]
    assert queue_tasks.seen[0][1] == ("deep",)


@pytest.mark.parametrize(
    "callback",
    [
        "queue_tasks:throw",
        "queue_tasks:say_false",
        "queue_tasks:mistake",
        "queue_tasks:not_callable",
        "queue_tasks:nonesuch",
        "no_such_module:x",
        "queue_tasks",
        ":x",
    ],
)
def test_what_is_a_failure(service, callback):
    service.create_queue("q")
    service.push("q", callback)
    assert run(service) == [DELETE]


def test_a_failure_is_logged_in_one_line(service, capfd):
    service.create_queue("q", retry_limit=1)
    service.push("q", "queue_tasks:throw", "two\nlines", title="My task")
    run(service)
    assert capfd.readouterr().err == (
        'Task "q#1" (My task) failed and should be retried. ValueError: two lines\n'
    )


@pytest.mark.parametrize(("interval", "wait"), [(None, None), (0, None), (30, 30)])
def test_retries_come_back_after_the_interval_until_the_limit(service, interval, wait):
    service.create_queue("q", retry_limit=1, retry_interval=interval)
    service.push("q", "queue_tasks:throw")
    assert run(service) == [RETRY]
    assert rows(service) == [(1, wait, 1)]
    let_go(service)
    assert run(service) == [DELETE]
    assert rows(service) == []


def test_a_claim_that_was_never_run_counts_and_the_next_one_deletes_unrun(service):
    service.create_queue("q")
    service.push("q", "queue_tasks:note")
    service.claim("q")
    let_go(service)
    assert run(service) == [DELETE]
    assert queue_tasks.seen == []


def test_a_poisoned_item_ends_by_policy_without_its_task(service):
    service.create_queue("q", error="abort", retry_limit=3)
    service.push("q", "queue_tasks:note")
    service.store._db.execute("UPDATE civicrm_queue_item SET run_count = 5")
    assert service.run_claimed("q", [1]) == [(1, ABORT)]
    assert service.status("q") == "aborted"
    assert queue_tasks.seen == []


def test_abort_gives_the_rest_of_the_batch_back(service):
    service.create_queue("q", error="abort", batch_limit=3, retry_interval=5)
    service.push("q", "queue_tasks:note")
    service.push_all("q", [Task("queue_tasks:throw")] * 2)
    assert run(service) == [OK, ABORT, RELINQUISH]
    assert rows(service) == [(2, 5, 1), (3, 5, 0)]
    let_go(service)
    assert service.claim("q") == []
    assert service.run_next("q") == []


def test_before_6_1_an_abort_does_not_end_the_batch(make):
    service = make("5.77")
    service.create_queue("q", error="abort", batch_limit=2)
    service.push_all("q", [Task("queue_tasks:throw"), Task("queue_tasks:note")])
    assert run(service) == [ABORT, OK]
    assert rows(service) == [(1, None, 1)]


def test_before_6_2_an_error_escapes_and_the_rest_stays_leased(make):
    service = make("6.1")
    service.create_queue("q", batch_limit=3)
    service.push_all("q", [Task("queue_tasks:note"), Task("queue_tasks:mistake"), Task("queue_tasks:note")])
    with pytest.raises(ApiError, match="unsupported operand"):
        run(service)
    assert rows(service) == [(2, 3600, 1), (3, 3600, 1)]


@pytest.mark.parametrize("queue_status", ["aborted", "draft", "completed", "paused"])
def test_queues_that_are_not_active_give_nothing(service, queue_status):
    service.create_queue("q")
    service.push("q", "queue_tasks:note")
    if queue_status == "paused":
        service.store.set_setting(1, "queue_paused", True)
    else:
        service.store.set_status("q", queue_status)
    assert service.claim("q") == []
    assert service.run_next("q") == []
    assert service.status("q") == queue_status
    assert rows(service) == [(1, None, 0)]


def test_run_items_checks_neither_status_nor_lease(service):
    service.create_queue("q")
    service.push("q", "queue_tasks:note")
    service.store.set_status("q", "draft")
    assert service.run_claimed("q", [1]) == [(1, OK)]


def test_items_run_in_order_of_id_and_the_gone_ones_are_left_out(service):
    service.create_queue("q", batch_limit=3)
    for number in (1, 2, 3):
        service.push("q", "queue_tasks:note", number)
    service.store.remove("q", 2)
    assert service.run_claimed("q", [3, 2, 1]) == [(1, OK), (3, OK)]
    assert service.run_claimed("q", [1, 3]) == []
    assert [arguments for _, arguments in queue_tasks.seen] == [(1,), (3,)]


@pytest.mark.parametrize(
    ("version", "message"), [("6.13.3", "getItemTitle"), ("5.77", "Cannot run. Invalid task given.")]
)
def test_a_single_item_that_is_gone_is_an_error(make, version, message):
    service = make(version)
    service.create_queue("q")
    with pytest.raises(ApiError, match=message):
        service.run_claimed("q", [1])


@pytest.mark.parametrize("data", ["[1]", '{"no":"callback"}', "{broken", '{"callback":"a:b","arguments":"x"}'])
def test_a_payload_that_is_no_task_ends_by_policy_without_retry(service, data):
    service.create_queue("q", retry_limit=5)
    service.push("q", "queue_tasks:note")
    service.store._db.execute("UPDATE civicrm_queue_item SET data = ?", [data])
    assert run(service) == [DELETE]


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
    service.store._db.execute("UPDATE civicrm_queue SET error = ?", [settings.get("error", "delete")])
    for _ in range(2):
        with pytest.raises(ApiError) as refused:
            service.claim("q")
        assert str(refused.value) == message


@pytest.mark.parametrize(
    ("runner", "message"),
    [
        ("", "Cannot autorun queue: q"),
        ("bad name", "Cannot autorun queue: q"),
        ("theirs", "Failed to run queue items (name=q, runner=theirs, itemCount=1, outcomeCount=0)"),
    ],
)
def test_a_runner_that_is_not_there_leaves_the_item_leased(service, runner, message):
    service.create_queue("q", runner=runner)
    service.push("q", "queue_tasks:note")
    with pytest.raises(ApiError) as refused:
        run(service)
    assert str(refused.value) == message
    assert rows(service) == [(1, 3600, 1)]


def test_several_items_of_a_linear_queue_cannot_run_at_once(service):
    service.create_queue("q", type="Sql")
    with pytest.raises(ApiError, match="requires BatchQueueInterface"):
        service.run_claimed("q", [1, 2])


def test_an_unknown_queue_is_asked_for_again_next_time(service):
    with pytest.raises(ApiError, match='Failed to create queue "q". Missing field "type".'):
        service.claim("q")
    service.create_queue("q")
    assert service.claim("q") == []


def test_settings_of_a_queue_are_remembered_its_status_is_not(service, make):
    service.create_queue("q", batch_limit=1)
    service.push_all("q", [Task("queue_tasks:note")] * 4)
    assert len(service.claim("q")) == 1
    service.store._db.execute("UPDATE civicrm_queue SET batch_limit = 3")
    assert len(service.claim("q")) == 1
    assert len(make().claim("q")) == 2


@pytest.mark.parametrize(
    ("run_as", "identity", "runs"),
    [
        (None, SYSTEM, True),
        (None, Identity(2, 1), True),
        ({"contactId": 2, "domainId": 1}, Identity(2, 1), True),
        ({"contactId": "2"}, Identity(2, 1), True),
        ({"contactId": 2, "domainId": 1}, SYSTEM, False),
        ({"contactId": 2, "domainId": 1}, Identity(1, 1), False),
        ({"contactId": 2, "domainId": 2}, Identity(2, 1), False),
        ({"contactId": None, "domainId": 1}, SYSTEM, True),
        ({"contactId": None, "domainId": 1}, Identity(2, 1), False),
        ({"domainId": 2}, SYSTEM, False),
        ({"domainId": "1"}, SYSTEM, True),
    ],
)
def test_identities(service, run_as, identity, runs):
    service.create_queue("q")
    service.push("q", "queue_tasks:note", run_as=run_as)
    assert run(service, identity=identity) == [OK if runs else DELETE]
    assert bool(queue_tasks.seen) == runs


def test_the_domain_is_that_of_the_process(make):
    service = make(domain=2)
    service.create_queue("q")
    service.push("q", "queue_tasks:note", run_as={"domainId": 2})
    assert run(service) == [OK]
    assert queue_tasks.seen[0][0].domain == 2


@pytest.mark.parametrize(("callback", "raised"), [("leave", SystemExit), ("interrupt", KeyboardInterrupt)])
def test_what_ends_the_process_is_not_swallowed(service, callback, raised):
    service.create_queue("q", batch_limit=2, retry_limit=9)
    service.push_all("q", [Task(f"queue_tasks:{callback}"), Task("queue_tasks:note")])
    with pytest.raises(raised):
        run(service)
    assert rows(service) == [(1, 3600, 1), (2, 3600, 1)]


def test_a_forked_child_that_comes_back_does_not_settle(service, tmp_path):
    service.create_queue("q")
    service.push("q", "queue_tasks:fork_and_return", str(tmp_path / "status"))
    parent = os.getpid()
    assert run(service) == [OK]
    assert os.getpid() == parent
    assert (tmp_path / "status").read_text() == "1"


def test_run_loop_counts(service):
    service.create_queue("q", batch_limit=2)
    service.push_all("q", [Task("queue_tasks:note")] * 3 + [Task("queue_tasks:throw")])
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
    [(0, 120, "Reached request limit (0)"), (10, 0, "Reached duration limit (0)"), (-1, -1, "No claimable items")],
)
def test_run_loop_limits(service, requests, duration, message):
    service.create_queue("q")
    service.push_all("q", [Task("queue_tasks:note")] * 2)
    service.push("q", "queue_tasks:note", release_time="+60 seconds")
    result = service.run_loop("q", requests, duration, SYSTEM)
    assert result["exit_message"] == message
    assert (result["queue_total"], result["queue_blocked"]) == ((1, 1) if message[0] == "N" else (3, 1))


def test_run_loop_says_why_it_does_not_begin_and_what_stopped_it(service):
    service.create_queue("q", status="draft")
    assert service.run_loop("q", 1, 1, SYSTEM)["exit_message"] == "Queue is not active (status => draft)"
    service.create_queue("r", runner="theirs")
    service.push("r", "queue_tasks:note")
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


@pytest.mark.parametrize("version", ["six", "", "6"])
def test_a_version_that_is_none(version):
    with pytest.raises(ValueError, match="is no CiviCRM version"):
        Release(version)
