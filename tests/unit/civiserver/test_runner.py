"""Running items: retries, errors, abort, identities, as CiviCRM's TaskHandler has them (contract A3, A4)."""

import os

import pytest
from support import tasks
from support.queue_rules import let_go, make_service, rows, run

from coworker.civiserver.errors import ApiError
from coworker.model import SYSTEM, Identity, Outcome
from coworker.queues.task import Task

make = make_service

OK, RETRY, DELETE, ABORT, RELINQUISH = (
    Outcome.OK,
    Outcome.RETRY,
    Outcome.DELETE,
    Outcome.ABORT,
    Outcome.RELINQUISH,
)


@pytest.fixture
def service(make):
    return make()


def test_a_task_gets_its_context_and_arguments(service):
    service.create_queue("q")
    item_id = service.push(
        "q",
        "support.tasks:note",
        1,
        "two",
        {"three": []},
        title="A task",
        run_as={"contactId": 2, "domainId": 1},
    )
    assert run(service, identity=Identity(2, 1)) == [OK]
    ((ctx, arguments),) = tasks.seen
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
    service.push("q", "support.tasks:Kept.deep")
    assert run(service) == [OK]
    assert tasks.seen[0][1] == ("deep",)


@pytest.mark.parametrize(
    "callback",
    [
        "support.tasks:throw",
        "support.tasks:say_false",
        "support.tasks:mistake",
        "support.tasks:not_callable",
        "support.tasks:nonesuch",
        "no_such_module:x",
        "support.tasks",
        ":x",
    ],
)
def test_what_is_a_failure(service, callback):
    service.create_queue("q")
    service.push("q", callback)
    assert run(service) == [DELETE]


def test_a_failure_is_logged_in_one_line(service, capfd):
    service.create_queue("q", retry_limit=1)
    service.push("q", "support.tasks:throw", "two\nlines", title="My task")
    run(service)
    assert capfd.readouterr().err == (
        'Task "q#1" (My task) failed and should be retried. ValueError: two lines\n'
    )


@pytest.mark.parametrize(("interval", "wait"), [(None, None), (0, None), (30, 30)])
def test_retries_come_back_after_the_interval_until_the_limit(service, interval, wait):
    service.create_queue("q", retry_limit=1, retry_interval=interval)
    service.push("q", "support.tasks:throw")
    assert run(service) == [RETRY]
    ((item, release_in, tries),) = rows(service)
    assert (item, tries) == (1, 1)
    assert release_in in (wait, wait and wait - 1)  # a second may have begun meanwhile
    let_go(service)
    assert run(service) == [DELETE]
    assert rows(service) == []


def test_a_claim_that_was_never_run_counts_and_the_next_one_deletes_unrun(service):
    service.create_queue("q")
    service.push("q", "support.tasks:note")
    service.claim("q")
    let_go(service)
    assert run(service) == [DELETE]
    assert tasks.seen == []


def test_a_poisoned_item_ends_by_policy_without_its_task(service):
    service.create_queue("q", error="abort", retry_limit=3)
    service.push("q", "support.tasks:note")
    service.store.file.change("UPDATE civicrm_queue_item SET run_count = 5")
    assert service.run_claimed("q", [1]) == [(1, ABORT)]
    assert service.status("q") == "aborted"
    assert tasks.seen == []


def test_abort_gives_the_rest_of_the_batch_back(service):
    service.create_queue("q", error="abort", batch_limit=3, retry_interval=5)
    service.push("q", "support.tasks:note")
    service.push_all("q", [Task("support.tasks:throw")] * 2)
    assert run(service) == [OK, ABORT, RELINQUISH]
    assert rows(service) == [(2, 5, 1), (3, 5, 0)]
    let_go(service)
    assert service.claim("q") == []
    assert service.run_next("q") == []


def test_before_6_1_an_abort_does_not_end_the_batch(make):
    service = make("5.77")
    service.create_queue("q", error="abort", batch_limit=2)
    service.push_all("q", [Task("support.tasks:throw"), Task("support.tasks:note")])
    assert run(service) == [ABORT, OK]
    assert rows(service) == [(1, None, 1)]


def test_before_6_2_an_error_escapes_and_the_rest_stays_leased(make):
    service = make("6.1")
    service.create_queue("q", batch_limit=3)
    service.push_all(
        "q",
        [
            Task("support.tasks:note"),
            Task("support.tasks:mistake"),
            Task("support.tasks:note"),
        ],
    )
    with pytest.raises(ApiError, match="unsupported operand"):
        run(service)
    assert rows(service) == [(2, 3600, 1), (3, 3600, 1)]


@pytest.mark.parametrize(
    ("version", "message"), [("6.13.3", "getItemTitle"), ("5.77", "Cannot run. Invalid task given.")]
)
def test_a_single_item_that_is_gone_is_an_error(make, version, message):
    service = make(version)
    service.create_queue("q")
    with pytest.raises(ApiError, match=message):
        service.run_claimed("q", [1])


@pytest.mark.parametrize(
    "data", ["[1]", '{"no":"callback"}', "{broken", '{"callback":"a:b","arguments":"x"}']
)
def test_a_payload_that_is_no_task_ends_by_policy_without_retry(service, data):
    service.create_queue("q", retry_limit=5)
    service.push("q", "support.tasks:note")
    service.store.file.change("UPDATE civicrm_queue_item SET data = ?", [data])
    assert run(service) == [DELETE]


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
    service.push("q", "support.tasks:note")
    with pytest.raises(ApiError) as refused:
        run(service)
    assert str(refused.value) == message
    assert rows(service) == [(1, 3600, 1)]


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
    service.push("q", "support.tasks:note", run_as=run_as)
    assert run(service, identity=identity) == [OK if runs else DELETE]
    assert bool(tasks.seen) == runs


@pytest.mark.parametrize(
    ("callback", "raised"), [("exit_with", SystemExit), ("interrupt", KeyboardInterrupt)]
)
def test_what_ends_the_process_is_not_swallowed(service, callback, raised):
    service.create_queue("q", batch_limit=2, retry_limit=9)
    service.push_all("q", [Task(f"support.tasks:{callback}"), Task("support.tasks:note")])
    with pytest.raises(raised):
        run(service)
    assert rows(service) == [(1, 3600, 1), (2, 3600, 1)]


def test_a_forked_child_that_comes_back_does_not_settle(service, tmp_path):
    service.create_queue("q")
    service.push("q", "support.tasks:fork_and_return", str(tmp_path / "status"))
    parent = os.getpid()
    assert run(service) == [OK]
    assert os.getpid() == parent
    assert (tmp_path / "status").read_text() == "1"
