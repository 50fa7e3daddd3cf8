"""A queue of 100,000 items keeps no other queue waiting: what is put there starts next.

Each worker is held by an item with a gate of its own. One gate is opened: what starts then, started next.
"""

import pytest
from support.daemon import wait_until
from support.evidence import contact_of
from support.tables import settings, site_table, table

HUGE = 100_000


@pytest.fixture
def gates(tmp_path):
    """A function that names the gate of a worker."""
    return lambda number: tmp_path / f"gate{number}"


@pytest.fixture
def never(tmp_path):
    return str(tmp_path / "never")


def fill(site, queue, held, **more):
    """Put 100,000 items into a queue; the first are held by these gates, the others by none. Their ids."""
    first = [item for gate in held for item in site.push(queue, "hold", str(gate), **more)]
    (model,) = site.push(queue, "empty", **more)
    columns = "queue_name, weight, submit_time, data"
    site.execute(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?) "
        f"INSERT INTO civicrm_queue_item ({columns}) "
        f"SELECT {columns} FROM civicrm_queue_item, n WHERE id = ?",
        HUGE - len(first) - 1,
        model,
    )
    assert site.left(queue) == HUGE
    return first


def start(daemon, site, workers, *rules, **more):
    """A daemon whose every claim is an order of its own, so that each is the scheduler's choice."""
    limits = {"count": workers, "boot_budget": workers, "slice": 0, "max_requests": 0, "max_age": 0, **more}
    return daemon(settings(site_table(site), *rules, log={"looking": True}, **limits))


def rule(queue, **values):
    return table(f'sites."example".queues."{queue}"', values)


def put(site, running, queue, *arguments, **more):
    """Put one item, and wait until control has told the master of it."""
    (item,) = site.push(queue, *arguments, **more)
    wait_until(
        lambda: any(queue in e.get("queues", "").split(",") for e in running.events("looked")),
        f"{queue} was seen",
    )
    return item


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize(("heavy", "light"), [(1, 1), (10, 1), (1, 10)])
def test_an_item_of_another_queue_starts_next(site, daemon, gates, never, workers, heavy, light):
    site.queue("huge")
    site.queue("small")
    held = fill(site, "huge", [gates(n) for n in range(workers)])
    rules = rule("huge", weight=heavy), rule("small", weight=light)
    running = start(daemon, site, workers, *rules)
    wait_until(lambda: sorted(site.started()) == sorted(held), "all workers are held")
    small = put(site, running, "small", "hold", never)
    gates(0).touch()
    wait_until(lambda: len(site.started()) > workers, "something starts")
    assert site.started()[workers] == small


@pytest.mark.parametrize(("huge", "small"), [("SqlParallel", "Sql"), ("Sql", "SqlParallel"), ("Sql", "Sql")])
def test_also_where_one_of_them_is_linear(site, daemon, gates, never, huge, small):
    site.queue("huge", type=huge)
    site.queue("small", type=small)
    first, *_ = fill(site, "huge", [gates(0), gates(1)])
    running = start(daemon, site, 1)
    wait_until(lambda: site.started() == [first], "the worker is held")
    item = put(site, running, "small", "hold", never)
    gates(0).touch()
    wait_until(lambda: len(site.started()) > 1, "something starts")
    assert site.started() == [first, item]


def test_a_linear_queue_however_long_leaves_the_other_workers_to_others(site, daemon, gates, never):
    site.queue("huge", type="Sql")
    site.queue("small")
    first, *_ = fill(site, "huge", [gates(0)])
    running = start(daemon, site, 2)
    wait_until(lambda: site.started() == [first], "one worker is held")
    small = put(site, running, "small", "hold", never)
    wait_until(lambda: len(site.started()) > 1, "something starts")
    assert site.started() == [first, small]


def test_batches_that_run_are_all_that_an_item_waits_for(site, daemon, gates, never):
    site.queue("huge", batch_limit=50)
    site.queue("small")
    (first,) = fill(site, "huge", [gates(0)])
    running = start(daemon, site, 1)
    wait_until(lambda: site.started() == [first], "the worker is held")
    small = put(site, running, "small", "hold", never)
    gates(0).touch()
    wait_until(lambda: small in site.started(), "the small one starts")
    assert site.started().index(small) == 50


def test_each_of_several_queues_has_its_turn_before_the_huge_one_has_another(site, daemon, gates):
    names = [f"small{n}" for n in range(5)]
    site.queue("huge")
    for name in names:
        site.queue(name)
    first, *_ = fill(site, "huge", [gates(0)])
    running = start(daemon, site, 1)
    wait_until(lambda: site.started() == [first], "the worker is held")
    small = [put(site, running, name, "empty") for name in names]
    gates(0).touch()
    wait_until(lambda: set(small) <= set(site.started()), "the small ones run")
    assert sorted(site.started()[1:6]) == sorted(small)


def test_an_item_of_another_identity_starts_next_if_a_worker_has_that_identity(site, daemon, gates, never):
    site.contact(5)
    site.queue("huge")
    site.queue("small")
    running = start(daemon, site, 2, rule("huge", concurrency=1))
    bound = put(site, running, "small", "empty", run_as=5)
    running.event("task_done", item=bound)
    first, *_ = fill(site, "huge", [gates(0)])
    wait_until(lambda: first in site.started(), "the other worker is held")
    begun = len(site.started())
    (small,) = site.push("small", "hold", never, run_as=5)
    wait_until(lambda: len(site.started()) > begun, "something starts")
    assert site.started()[begun] == small


@pytest.mark.parametrize("workers", [1, 2])
def test_an_item_of_an_identity_that_no_worker_has_starts_long_before_a_huge_queue_ends(
    site, daemon, gates, workers
):
    site.contact(5)
    site.queue("huge")
    site.queue("small")
    fill(site, "huge", [])
    running = start(daemon, site, workers)
    running.event("task_done", count=2 * workers)
    begun = len(site.started())
    (small,) = site.push("small", "empty", run_as=5)
    running.event("task_done", item=small, outcome="ok")
    assert contact_of(site.written())[small] == ["5"]
    assert site.started().index(small) >= begun
    assert site.left("huge") > HUGE / 2
