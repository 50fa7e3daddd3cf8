"""APIv4's `where`: parsed into a tree that any store can translate, or evaluate here.

Three values, as SQL has them: a comparison with NULL is neither true nor false (None), and so is its NOT.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from coworker.civiserver.errors import ApiError
from coworker.civiserver.fields import Entity, Field, Row

NO_VALUE = frozenset({"IS NULL", "IS NOT NULL", "IS EMPTY", "IS NOT EMPTY"})
LISTS = frozenset({"IN", "NOT IN", "BETWEEN", "NOT BETWEEN"})
TEXT = frozenset({"LIKE", "NOT LIKE", "CONTAINS", "NOT CONTAINS"})
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Comparison(NamedTuple):
    """`field operator value`; the value is in the store's shape (times are seconds), a list for the LISTS."""

    field: Field
    op: str
    value: Any = None


class Group(NamedTuple):
    """AND or OR over at least one part; NOT over one."""

    op: str
    parts: tuple[Condition, ...]


Condition = Comparison | Group
EVERYTHING: Group = Group("AND", ())


def parse_where(clauses: Any, entity: Entity, now: int) -> Group:
    """Read `[[field, operator, value], ["OR", [clause, ...]], ["NOT", [clause, ...]]]` as one AND group.

    Raises ApiError for unknown fields and operators, and for values of the wrong shape.
    """
    if not isinstance(clauses, list):
        raise ApiError("where: expected a list of clauses")
    return Group("AND", tuple(_clause(clause, entity, now) for clause in clauses))


def _clause(clause: Any, entity: Entity, now: int) -> Condition:
    if not isinstance(clause, list) or not clause:
        raise ApiError(f"where: {clause!r} is not a clause")
    if clause[0] in ("AND", "OR", "NOT"):
        return _group(clause, entity, now)
    field = entity.field(clause[0])
    op = str(clause[1]).upper() if len(clause) > 1 else ""
    op = "!=" if op == "<>" else op
    if op in NO_VALUE:
        return Comparison(field, op)
    if op not in COMPARE and op not in LISTS and op not in TEXT:
        raise ApiError(f"Illegal operator '{op}' for field '{field.name}'")
    value = clause[2] if len(clause) > 2 else None
    return Comparison(field, op, _value(field, op, value, now))


def _group(clause: list[Any], entity: Entity, now: int) -> Group:
    parts = clause[1] if len(clause) > 1 else None
    if not isinstance(parts, list) or not parts:
        raise ApiError(f"where: {clause[0]} needs a list of clauses")
    inner = tuple(_clause(part, entity, now) for part in parts)
    if clause[0] == "NOT":
        return Group("NOT", (Group("AND", inner),))
    return Group(clause[0], inner)


def _value(field: Field, op: str, value: Any, now: int) -> Any:
    if op in TEXT:
        if field.type == "Timestamp":
            raise ApiError(f"{op} does not go with the time '{field.name}'")
        return "" if value is None else str(value)
    if op not in LISTS:
        return field.to_store(value, now)
    if not isinstance(value, list) or ("BETWEEN" in op and len(value) != 2):
        raise ApiError(f"{op} needs a list of values for field '{field.name}'")
    return [field.to_store(item, now) for item in value]


def like_pattern(op: str, value: str) -> str:
    """Return the LIKE pattern of a TEXT operator, with backslash as its escape."""
    if op.endswith("CONTAINS"):
        return "%" + re.sub(r"([\\%_])", r"\\\1", value) + "%"
    return value


def matches(condition: Condition, row: Row) -> bool | None:
    """Evaluate a condition for one row of stored values."""
    if isinstance(condition, Comparison):
        return _compare(condition, row.get(condition.field.name))
    results = [matches(part, row) for part in condition.parts]
    if condition.op == "NOT":
        return None if results[0] is None else not results[0]
    decisive = condition.op == "OR"
    if decisive in results:
        return decisive
    return None if None in results else not decisive


def _compare(comparison: Comparison, value: Any) -> bool | None:
    field, op, wanted = comparison
    if op in NO_VALUE:
        empty = value is None or ("EMPTY" in op and is_empty(field, value))
        return empty != ("NOT" in op)
    if op.startswith("NOT "):
        positive = _compare(comparison._replace(op=op[4:]), value)
        return None if positive is None else not positive
    if op in LISTS:
        return _in(value, wanted) if op == "IN" else _between(value, *wanted)
    if value is None or wanted is None:
        return None
    return COMPARE[op](value, wanted) if op in COMPARE else _like(like_pattern(op, wanted), str(value))


def _in(value: Any, wanted: list[Any]) -> bool | None:
    if not wanted:
        return False
    if value is None:
        return None
    if value in wanted:
        return True
    return None if None in wanted else False


def _between(value: Any, low: Any, high: Any) -> bool | None:
    if value is None:
        return None
    inside = (None if low is None else value >= low, None if high is None else value <= high)
    return False if False in inside else (None if None in inside else True)


def is_empty(field: Field, value: Any) -> bool:
    """Whether a value is EMPTY beyond NULL: '' as text, 0 as number; times and yes/no fields never are."""
    return bool(value == {"String": "", "Integer": 0}.get(field.type, NO_VALUE))


def _like(pattern: str, value: str) -> bool:
    """Compare by LIKE, without regard to ASCII case."""
    parts, escaped = [], False
    for char in pattern:
        if escaped:
            parts.append(re.escape(char))
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            parts.append({"%": ".*", "_": "."}.get(char) or re.escape(char))
    if escaped:
        return False  # nothing follows the escape: SQL finds nothing
    return re.fullmatch("".join(parts), value, re.DOTALL | re.IGNORECASE | re.ASCII) is not None
