"""The where language: SQL and the evaluation in Python agree, and both know NULL."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coworker.civiserver.errors import ApiError
from coworker.civiserver.fields import QUEUE, QUEUE_ITEM
from coworker.civiserver.query import parse_query, select_rows
from coworker.civiserver.site_store import open_site
from coworker.civiserver.where import matches, parse_where

NOW = 1_774_000_000
ROW = {"id": 7, "queue_name": "email/thankyou", "weight": 0, "release_time": None, "run_count": 2}


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        (["id", "=", "7"], True),
        (["id", "!=", 7], False),
        (["id", "<>", 8], True),
        (["id", ">=", 7], True),
        (["id", "IN", ["6", "7"]], True),
        (["id", "IN", []], False),
        (["id", "NOT IN", []], True),
        (["id", "NOT IN", [1, 2]], True),
        (["id", "BETWEEN", [1, 7]], True),
        (["id", "NOT BETWEEN", [1, 7]], False),
        (["queue_name", "LIKE", "EMAIL/%"], True),
        (["queue_name", "NOT LIKE", "email/_"], True),
        (["queue_name", "CONTAINS", "thank"], True),
        (["queue_name", "CONTAINS", "%"], False),
        (["queue_name", "NOT CONTAINS", "sms"], True),
        (["weight", "IS EMPTY"], True),
        (["run_count", "IS NOT EMPTY"], True),
        (["queue_name", "IS EMPTY"], False),
        (["release_time", "IS NULL"], True),
        (["release_time", "IS EMPTY"], True),
        (["release_time", "IS NOT NULL"], False),
        (["release_time", "<", "now"], None),
        (["release_time", "!=", "now"], None),
        (["release_time", "=", None], None),
        (["NOT", [["release_time", "<", "now"]]], None),
        (["NOT", [["id", "=", 7], ["weight", "=", 1]]], True),
        (["OR", [["release_time", "<", "now"], ["id", "=", 7]]], True),
        (["OR", [["release_time", "<", "now"], ["id", "=", 8]]], None),
        (["AND", [["release_time", "<", "now"], ["id", "=", 8]]], False),
    ],
)
def test_one_clause(clause, expected):
    assert matches(parse_where([clause], QUEUE_ITEM, NOW), ROW) is expected


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ([["nope", "=", 1]], "Invalid field 'nope'"),
        ([["id", "~", 1]], "Illegal operator '~'"),
        ([["id"]], "Illegal operator ''"),
        ([["id", "=", "seven"]], 'Field "id" cannot be'),
        ([["id", "=", 2**70]], "out of range"),
        ([["id", "IN", 7]], "IN needs a list"),
        ([["id", "BETWEEN", [1]]], "BETWEEN needs a list"),
        ([["OR", []]], "OR needs a list"),
        ([["release_time", "<", "soon"]], "is not a time"),
        ([["release_time", "LIKE", "2026%"]], "does not go with the time"),
        ([["queue_name", "=", ["a"]]], "not a text"),
        (["id"], "is not a clause"),
        ({"id": 1}, "expected a list"),
        ([["has_base", "=", 1]], "Invalid field 'has_base'"),
    ],
)
def test_what_is_refused(where, message):
    entity = QUEUE if "has_base" in str(where) else QUEUE_ITEM
    with pytest.raises(ApiError, match=message.replace("(", r"\(")):
        parse_where(where, entity, NOW)


texts = st.text(st.sampled_from("aB%_\\'é"), max_size=3)
numbers = st.integers(-2, 2)
nullable_numbers = st.none() | numbers
clauses = st.recursive(
    st.one_of(
        st.tuples(st.just("weight"), st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), nullable_numbers),
        st.tuples(st.just("run_count"), st.sampled_from(["=", "<"]), numbers),
        st.tuples(st.just("queue_name"), st.sampled_from(["=", "!=", "<", ">="]), texts),
        st.tuples(st.just("release_time"), st.sampled_from(["<", "<=", "=", "!="]), st.just("now")),
        st.tuples(
            st.just("queue_name"), st.sampled_from(["LIKE", "NOT LIKE", "CONTAINS", "NOT CONTAINS"]), texts
        ),
        st.tuples(
            st.just("weight"), st.sampled_from(["IN", "NOT IN"]), st.lists(nullable_numbers, max_size=3)
        ),
        st.tuples(st.just("release_time"), st.sampled_from(["BETWEEN"]), st.just(["-1 second", "+1 second"])),
        st.tuples(
            st.sampled_from(["queue_name", "weight", "release_time"]),
            st.sampled_from(["IS NULL", "IS NOT NULL", "IS EMPTY", "IS NOT EMPTY"]),
        ),
        st.tuples(st.just("id"), st.just("IN"), st.lists(st.integers(1, 6), max_size=3)),
    ).map(list),
    lambda inner: st.tuples(
        st.sampled_from(["AND", "OR", "NOT"]), st.lists(inner, min_size=1, max_size=3)
    ).map(list),
    max_leaves=5,
)
rows = st.fixed_dictionaries(
    {
        "queue_name": texts,
        "weight": numbers,
        "run_count": numbers,
        "release_time": st.none() | st.sampled_from([NOW - 1, NOW, NOW + 1]),
        "submit_time": st.just(NOW),
    }
)
orders = st.sampled_from([{}, {"weight": "ASC", "id": "ASC"}, {"release_time": "DESC", "id": "DESC"}])


@settings(max_examples=300)
@given(
    items=st.lists(rows, max_size=6),
    where=st.lists(clauses, max_size=3),
    order=orders,
    limit=st.integers(0, 3),
    offset=st.integers(0, 2),
)
def test_sql_and_python_find_the_same_rows(items, where, order, limit, offset):
    site = open_site("memory:")
    ids = site.insert(QUEUE_ITEM, items) if items else []
    order = order or {"id": "ASC"}
    params = {"select": ["id"], "where": where, "orderBy": order, "limit": limit, "offset": offset}
    query = parse_query(QUEUE_ITEM, params, NOW)
    expected = select_rows(query, [{**item, "id": row_id} for item, row_id in zip(items, ids, strict=True)])
    assert site.find(query) == expected
    site.close()


@settings(max_examples=100)
@given(items=st.lists(rows, max_size=8), extra=st.lists(clauses, max_size=1), limit=st.integers(1, 3))
def test_the_quick_way_to_the_first_free_items_is_the_same_as_the_slow_one(items, extra, limit):
    site = open_site("memory:")
    if items:
        site.insert(QUEUE_ITEM, [{**item, "queue_name": "q"} for item in items])
    free = ["OR", [["release_time", "IS NULL"], ["release_time", "<", "now"]]]
    where = [["queue_name", "=", "q"], free, *extra]
    params = {"select": ["id"], "where": where, "orderBy": {"weight": "ASC", "id": "ASC"}}
    everything = site.find(parse_query(QUEUE_ITEM, params, NOW))  # without a limit: one plain SELECT
    assert site.find(parse_query(QUEUE_ITEM, {**params, "limit": limit}, NOW)) == everything[:limit]
    site.close()
