"""Queries as SQL.

They are plain SELECTs, but for the two that the daemon asks all day and that must cost the same at any size:
the names of the queues that have items, and a queue's first free items.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from coworker.civiserver.query import Column, Query
from coworker.civiserver.where import (
    LISTS,
    NO_VALUE,
    TEXT,
    Comparison,
    Condition,
    Group,
    is_empty,
    like_pattern,
)
from coworker.queues.stores.sqlite_file import marks

ITEMS = "civicrm_queue_item"
_FALSE = "0=1"
_BY_WEIGHT = (("weight", False), ("id", False))


class Statement(NamedTuple):
    text: str
    values: list[Any]


class Free(NamedTuple):
    """The part of a where that asks for one queue's free items, and the rest of it."""

    queue: str
    op: str
    until: int
    rest: Group


def to_statement(query: Query, free: Free | None = None) -> Statement:
    """Make one SELECT of a query. `free`: what `find_free` says of it, if reading in order is slower."""
    if _asks_names(query):
        return _names(query)
    if free is not None:
        return _first_free(query, free)
    values: list[Any] = []
    text = f"SELECT {_columns(query)} FROM {query.entity.table}{_where(query.where, values)}"  # noqa: S608
    if query.group_by:
        text += " GROUP BY " + ",".join(field.name for field in query.group_by)
    return Statement(text + _order(query) + _limit(query, values), values)


def condition_sql(condition: Condition, values: list[Any], pinned: str = "") -> str:
    """Make a boolean expression; its parameters are appended to values.

    `pinned`: a column to leave to its own index; the others are marked with SQLite's unary plus, so that a
    list of ids is never answered by reading a whole queue.
    """
    if isinstance(condition, Comparison):
        return _comparison(condition, values, pinned)
    parts = [condition_sql(part, values, pinned) for part in condition.parts]
    if condition.op == "NOT":
        return f"NOT ({parts[0]})"
    return "(" + f" {condition.op} ".join(parts) + ")" if parts else "1=1"


def _where(where: Group, values: list[Any]) -> str:
    if not where.parts:
        return ""
    by_id = any(
        isinstance(part, Comparison) and part.field.name == "id" and part.op in ("=", "IN")
        for part in where.parts
    )
    return " WHERE " + condition_sql(where, values, "id" if by_id else "")


def _comparison(comparison: Comparison, values: list[Any], pinned: str) -> str:
    field, op, value = comparison
    name = f"+{field.name}" if pinned and field.name != pinned else field.name
    if op in NO_VALUE:
        return _emptiness(comparison, name)
    if op in LISTS:
        return _list(name, op, value, values)
    if op in TEXT:
        values.append(like_pattern(op, value))
        return f"{name} {op.replace('CONTAINS', 'LIKE')} ? ESCAPE '\\'"
    values.append(value)
    return f"{name} {op} ?"


def _emptiness(comparison: Comparison, name: str) -> str:
    field, op, _ = comparison
    negated = "NOT" in op
    null = f"{name} IS {'NOT ' if negated else ''}NULL"
    empty = next((text for value, text in (("", "''"), (0, "0")) if is_empty(field, value)), None)
    if "EMPTY" not in op or empty is None:
        return null
    return f"({null} AND {name} <> {empty})" if negated else f"({null} OR {name} = {empty})"


def _list(name: str, op: str, value: list[Any], values: list[Any]) -> str:
    if "BETWEEN" in op:
        values.extend(value)
        return f"{name} {op} ? AND ?"
    if not value:
        return _FALSE if op == "IN" else f"NOT {_FALSE}"
    values.extend(value)
    return f"{name} {op} ({marks(value)})"


def _columns(query: Query) -> str:
    return ",".join(_column(column) for column in query.columns) or "NULL"


def _column(column: Column) -> str:
    if column.function == "NOW":
        return "NULL"
    name = column.field.name if column.field else "*"
    if column.function is None:
        return name
    return f"{column.function}({'DISTINCT ' if column.distinct else ''}{name})"


def _order(query: Query) -> str:
    if not query.order:
        return ""
    places = {column.name: str(place) for place, column in enumerate(query.columns, 1)}
    terms = (f"{places.get(name, name)}{' DESC' if descending else ''}" for name, descending in query.order)
    return " ORDER BY " + ",".join(terms)


def _limit(query: Query, values: list[Any]) -> str:
    if not query.limit and not query.offset:
        return ""
    values.extend((query.limit or -1, query.offset))
    return " LIMIT ? OFFSET ?"


def _asks_names(query: Query) -> bool:
    """Whether all that is asked is which queues have items."""
    return (
        query.entity.table == ITEMS
        and [field.name for field in query.group_by] == ["queue_name"]
        and all(column.function is None and column.name == "queue_name" for column in query.columns)
        and all(
            isinstance(part, Comparison) and part.field.name == "queue_name" for part in query.where.parts
        )
        and all(name == "queue_name" for name, _ in query.order)
    )


def _names(query: Query) -> Statement:
    """Ask for the names by a loose index scan: one step down for each, however many items it has."""
    values: list[Any] = []
    text = (
        f"WITH RECURSIVE names(queue_name) AS (SELECT min(queue_name) FROM {ITEMS} UNION ALL "  # noqa: S608
        f"SELECT (SELECT min(queue_name) FROM {ITEMS} WHERE queue_name > names.queue_name) "
        "FROM names WHERE names.queue_name IS NOT NULL) "
        f"SELECT {_columns(query)} FROM names "
        f"WHERE queue_name IS NOT NULL AND {condition_sql(query.where, values)}"
    )
    return Statement(text + _order(query) + _limit(query, values), values)


def find_free(query: Query) -> Free | None:
    """Recognise `queue_name = Q AND (release_time IS NULL OR release_time < T)` with a limit.

    Its order is by weight and id or, as the daemon looks, any.
    """
    if query.aggregate or not query.limit or query.order not in ((), _BY_WEIGHT):
        return None
    queue, until, rest = None, None, []
    for part in query.where.parts:
        if (
            isinstance(part, Comparison)
            and (part.field.name, part.op) == ("queue_name", "=")
            and queue is None
        ):
            queue = part.value
        elif isinstance(part, Group) and until is None and (found := _free_until(part)) is not None:
            until = found
        else:
            rest.append(part)
    if queue is None or until is None or until.value is None:
        return None
    return Free(queue, until.op, until.value, Group("AND", tuple(rest)))


def _free_until(group: Group) -> Comparison | None:
    if group.op != "OR" or len(group.parts) != 2:
        return None
    for null, until in (group.parts, group.parts[::-1]):
        if not isinstance(null, Comparison) or not isinstance(until, Comparison):
            return None
        if null.field.name == until.field.name == "release_time" and null.op in ("IS NULL", "IS EMPTY"):
            return until if until.op in ("<", "<=") else None
    return None


def _first_free(query: Query, free: Free) -> Statement:
    """Read shortly and in order from both indexes, instead of once through everything that is leased."""
    values: list[Any] = []
    parts = []
    for clause, until in (("release_time IS NULL", []), (f"release_time {free.op} ?", [free.until])):
        values += [free.queue, *until]
        rest = condition_sql(free.rest, values)
        values.append(query.limit + query.offset)
        parts.append(
            f"SELECT * FROM (SELECT weight, id FROM {ITEMS} WHERE queue_name = ? AND {clause} AND {rest} "  # noqa: S608
            "ORDER BY weight, id LIMIT ?)"
        )
    values.append(query.limit + query.offset)
    first = f"SELECT id FROM ({' UNION ALL '.join(parts)}) ORDER BY weight, id LIMIT ?"  # noqa: S608
    text = f"SELECT {_columns(query)} FROM {ITEMS} WHERE id IN ({first}) ORDER BY weight, id"  # noqa: S608
    return Statement(text + _limit(query, values), values)
