"""`get`: select, groups, order, and the two questions that must cost the same at any size."""

import pytest

from coworker.civi import looking
from coworker.civiserver import sql
from coworker.civiserver.errors import ApiError
from coworker.civiserver.fields import DOMAIN, QUEUE, QUEUE_ITEM
from coworker.civiserver.query import parse_query, select_rows
from coworker.civiserver.service import QueueService
from coworker.civiserver.site_store import open_site
from coworker.model import QueueInfo
from coworker.queues.task import Task

NOW = 1_774_000_000
FREE = ["OR", [["release_time", "IS NULL"], ["release_time", "<", "now"]]]
BY_WEIGHT = {"weight": "ASC", "id": "ASC"}


@pytest.fixture
def service():
    service = QueueService(open_site("memory:"))
    yield service
    service.site.close()


def find(service, entity=QUEUE_ITEM, **params):
    return service.site.find(parse_query(entity, params, service.store.now()))


def fill(service, queue, count, **more):
    return service.push_all(queue, [Task("builtins:print")] * count, **more)


def test_groups_and_aggregates(service):
    fill(service, "b", 2, weight=5)
    fill(service, "a", 1, weight=3)
    assert find(
        service,
        select=[
            "queue_name",
            "COUNT(id) AS n",
            "MIN(weight) AS low",
            "MAX(weight)",
            "count(*) AS all_of_them",
        ],
        groupBy=["queue_name"],
        orderBy={"n": "DESC"},
    ) == [
        {"queue_name": "b", "n": 2, "low": 5, "MAX:weight": 5, "all_of_them": 2},
        {"queue_name": "a", "n": 1, "low": 3, "MAX:weight": 3, "all_of_them": 1},
    ]
    assert find(service, select=["COUNT(DISTINCT queue_name) AS queues"]) == [{"queues": 2}]


def test_times_in_aggregates_are_shown_as_times(service):
    fill(service, "a", 1, release_time="2026-11-21 18:37:25")
    assert find(service, select=["MIN(release_time) AS first"]) == [{"first": "2026-11-21 18:37:25"}]


def test_the_id_is_always_there_but_not_in_groups(service):
    fill(service, "a", 1)
    assert find(service, select=["weight"]) == [{"id": 1, "weight": 0}]
    assert find(service, select=["weight", "id"]) == [{"weight": 0, "id": 1}]
    assert find(service, select=["weight"], groupBy=["weight"]) == [{"weight": 0}]


def test_data_is_never_shown_and_unknown_fields_are_left_out(service):
    fill(service, "a", 1)
    assert find(service, select=["data", "nonesuch", "SHOUT"]) == [{"id": 1, "data": False}]


def test_now_is_the_sites_clock():
    site = open_site("memory:", clock_offset=86400.0)
    fill(QueueService(site), "a", 1)
    (ahead,) = site.find(parse_query(QUEUE_ITEM, {"select": ["NOW() AS now"]}, site.queues.now()))
    (here,) = select_rows(
        parse_query(DOMAIN, {"select": ["NOW() AS now"]}, site.queues.now() - 86400), [{"id": 1}]
    )
    assert ahead["now"] > here["now"]
    site.close()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"select": "id"}, "select: expected a list"),
        ({"select": ["AVG(id)"]}, "AVG"),
        ({"select": ["MIN(nonesuch)"]}, "Invalid field 'nonesuch'"),
        ({"orderBy": {"nonesuch": "ASC"}}, "Invalid field 'nonesuch'"),
        ({"orderBy": {"id": "UP"}}, "Invalid sort direction"),
        ({"orderBy": ["id"]}, "orderBy: expected"),
        ({"groupBy": ["nonesuch"]}, "Invalid field 'nonesuch'"),
        ({"limit": "many"}, "limit: expected a number"),
    ],
)
def test_what_is_refused(params, message):
    with pytest.raises(ApiError, match=message):
        parse_query(QUEUE_ITEM, params, NOW)


def test_rows_in_memory_are_ordered_with_null_first_and_cannot_be_grouped():
    query = parse_query(DOMAIN, {"select": ["id"], "orderBy": {"name": "ASC"}, "limit": 2}, NOW)
    rows = [{"id": 1, "name": "b"}, {"id": 2, "name": None}, {"id": 3, "name": "a"}]
    assert select_rows(query, rows) == [{"id": 2}, {"id": 3}]
    with pytest.raises(ApiError, match="cannot be grouped"):
        select_rows(parse_query(DOMAIN, {"groupBy": ["id"]}, NOW), rows)


def test_groups_of_which_nothing_known_is_asked(service):
    fill(service, "a", 2, weight=5)
    for field, value in (("weight", 5), ("queue_name", "a")):
        assert find(service, select=["bogus"], groupBy=[field]) == [{field: value}]


def test_names_of_queues_with_items(service):
    for queue in ("c", "a", "b"):
        fill(service, queue, 3)
    names = {"select": ["queue_name"], "groupBy": ["queue_name"]}
    assert find(service, **names) == [{"queue_name": "a"}, {"queue_name": "b"}, {"queue_name": "c"}]
    assert find(service, **names, where=[["queue_name", "NOT IN", ["a", "c"]]]) == [{"queue_name": "b"}]
    assert find(service, **names, orderBy={"queue_name": "DESC"}, limit=1) == [{"queue_name": "c"}]
    service.store.reset("a")
    assert [row["queue_name"] for row in find(service, **names)] == ["b", "c"]


def looked_at(kind):
    """What control asks about one queue of this type."""
    return looking._first_row_call(QueueInfo("q", type=kind))[2]


@pytest.mark.parametrize(
    ("params", "index"),
    [
        (
            {"select": ["queue_name"], "groupBy": ["queue_name"]},
            "SEARCH civicrm_queue_item USING COVERING INDEX",
        ),
        ({"where": [["queue_name", "=", "q"], FREE], "limit": 1}, "index_free"),
        ({"where": [["queue_name", "=", "q"], FREE], "limit": 1}, "index_leased"),
        (looked_at("SqlParallel"), "index_free"),
        (looked_at("SqlParallel"), "index_leased"),
        (looked_at("Sql"), "index_queueids"),
        ({"where": [["queue_name", "=", "q"], ["id", "IN", [1, 2]]]}, "INTEGER PRIMARY KEY (rowid=?)"),
        ({"where": [["id", "=", 1], ["queue_name", "=", "q"], ["run_count", "=", 1]]}, "INTEGER PRIMARY KEY"),
        (
            {"where": [["queue_name", "=", "q"], ["release_time", "BETWEEN", ["now", "+9 seconds"]]]},
            "index_leased (queue_name=? AND release_time>? AND release_time<?)",
        ),
    ],
)
def test_no_question_of_the_daemon_reads_a_whole_queue(service, params, index):
    """By the plan, not by the clock: no full scan, and the index that the question is meant for."""
    if "select" not in params:
        params = {**params, "select": ["id"], "orderBy": BY_WEIGHT}
    query = parse_query(QUEUE_ITEM, params, NOW)
    statement = sql.to_statement(query, sql.find_free(query))
    plan = service.store.file.rows(f"EXPLAIN QUERY PLAN {statement.text}", statement.values)
    steps = [row[3] for row in plan]
    assert any(index in step for step in steps), steps
    assert not any(step.startswith("SCAN civicrm_queue_item") for step in steps), steps
    if index in ("index_free", "index_leased"):
        assert not any("index_queueids" in step for step in steps), "that one goes through what is leased"


def test_is_template_and_runner_as_the_daemon_asks(service):
    service.create_queue("work")
    service.create_queue("template", is_template=True)
    service.create_queue("browser", runner="", status=None)
    service.create_queue("draft", status="draft")
    where = [["runner", "IS NOT EMPTY"], ["status", "=", "active"], ["is_template", "=", False]]
    assert find(service, QUEUE, select=["name"], where=where) == [{"id": 1, "name": "work"}]
