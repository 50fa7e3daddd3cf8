"""APIv4's `get` parameters, parsed: what to show, of which rows, in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from coworker.civiserver.errors import ApiError
from coworker.civiserver.fields import Entity, Field, Row
from coworker.civiserver.times import format_time
from coworker.civiserver.where import EVERYTHING, Group, matches, parse_where

_EXPRESSION = re.compile(r"\s*([A-Z]+)\(\s*(DISTINCT\s+)?(\*|\w*)\s*\)(?:\s+AS\s+(\w+))?\s*", re.IGNORECASE)
AGGREGATES = frozenset({"COUNT", "MIN", "MAX"})


class Column(NamedTuple):
    """One key of the result: a field, an aggregate of one, or NOW()."""

    name: str
    field: Field | None = None
    function: str | None = None
    distinct: bool = False

    def to_api(self, value: Any) -> Any:
        if self.field is None or self.function == "COUNT":
            return value
        return self.field.to_api(value)


class Query(NamedTuple):
    """A parsed query. `limit` 0: none. `order` pairs a column's or field's name with True for descending."""

    entity: Entity
    now: int
    columns: tuple[Column, ...]
    where: Group = EVERYTHING
    group_by: tuple[Field, ...] = ()
    order: tuple[tuple[str, bool], ...] = ()
    limit: int = 0
    offset: int = 0

    @property
    def aggregate(self) -> bool:
        return bool(self.group_by) or any(column.function in AGGREGATES for column in self.columns)


def parse_query(entity: Entity, params: dict[str, Any], now: int) -> Query:
    """Parse `{select, where, groupBy, orderBy, limit, offset}`.

    Unknown fields in select are left out, as APIv4 does.
    Raises ApiError where APIv4 would.
    """
    group_by = tuple(entity.field(name) for name in params.get("groupBy") or [])
    columns = _columns(entity, params.get("select") or ["*"])
    aggregate = group_by or any(column.function in AGGREGATES for column in columns)
    identifier = entity.fields.get("id")
    if identifier and not aggregate and all(column.name != "id" for column in columns):
        columns.insert(0, Column("id", identifier))  # APIv4 always shows the id
    if not columns:
        columns = [Column(field.name, field) for field in group_by]  # nothing known was asked of the groups
    return Query(
        entity,
        now,
        tuple(columns),
        parse_where(params.get("where") or [], entity, now),
        group_by,
        _order(entity, params.get("orderBy") or {}, columns),
        _count(params, "limit"),
        _count(params, "offset"),
    )


def _columns(entity: Entity, select: Any) -> list[Column]:
    if not isinstance(select, list):
        raise ApiError("select: expected a list")
    columns: dict[str, Column] = {}
    for expression in select:
        for column in _column(entity, str(expression)):
            columns[column.name] = column
    return list(columns.values())


def _column(entity: Entity, expression: str) -> list[Column]:
    if expression == "*":
        return [Column(field.name, field) for field in entity.columns()]
    field = entity.fields.get(expression)
    if field is not None:
        return [] if field.extra else [Column(field.name, field)]
    found = _EXPRESSION.fullmatch(expression)
    if found is None:
        return []
    function, distinct, name, alias = found.groups()
    function = function.upper()
    if function == "NOW" and not name:
        return [Column(alias or "NOW:", None, "NOW")]
    if function not in AGGREGATES:
        raise ApiError(f"{function}() is not known here: use COUNT, MIN, MAX or NOW")
    if name == "*" and function == "COUNT":
        return [Column(alias or "COUNT:*", None, "COUNT")]
    return [Column(alias or f"{function}:{name}", entity.field(name), function, bool(distinct))]


def _order(entity: Entity, given: Any, columns: Iterable[Column]) -> tuple[tuple[str, bool], ...]:
    if not isinstance(given, dict):
        raise ApiError("orderBy: expected {field: ASC|DESC}")
    known = {column.name for column in columns}
    order = []
    for name, direction in given.items():
        if str(direction).upper() not in ("ASC", "DESC"):
            raise ApiError(f"Invalid sort direction. Cannot order by {name} {direction}")
        order.append((name if name in known else entity.field(name).name, str(direction).upper() == "DESC"))
    return tuple(order)


def _count(params: dict[str, Any], name: str) -> int:
    try:
        return max(0, int(params.get(name) or 0))
    except (TypeError, ValueError) as error:
        raise ApiError(f"{name}: expected a number") from error


def select_rows(query: Query, rows: Iterable[Row]) -> list[Row]:
    """Answer a query without groups from rows in memory, for lists that no store keeps."""
    if query.aggregate:
        raise ApiError(f"{query.entity.name}: cannot be grouped")
    found = [row for row in rows if matches(query.where, row)]
    for name, descending in reversed(query.order):
        found.sort(key=lambda row: (row.get(name) is not None, row.get(name)), reverse=descending)
    end = query.offset + query.limit if query.limit else None
    return [
        shape(query, (row.get(column.name) for column in query.columns)) for row in found[query.offset : end]
    ]


def shape(query: Query, values: Iterable[Any]) -> Row:
    """Make one row of the result from stored values in the order of the columns."""
    return {
        column.name: format_time(query.now) if column.function == "NOW" else column.to_api(value)
        for column, value in zip(query.columns, values, strict=True)
    }
