"""The columns of each entity, their types, and how values of the API become stored ones and back.

Columns and defaults are those of CiviCRM's schema (civicrm_queue, civicrm_queue_item); contacts and settings
have just what tasks and logins need.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from coworker.civiserver.errors import ApiError
from coworker.civiserver.times import format_compact, format_time, parse_time

_INTEGER_LIMIT = 2**63
Row = dict[str, Any]


class Field(NamedTuple):
    """A column. `type` is APIv4's data_type; "Data" is the serialized payload of an item."""

    name: str
    type: str = "String"
    required: bool = False
    default: Any = None
    nullable: bool = False  # may be NULL although it has a default
    extra: bool = False  # known to getFields, but not a column

    def to_store(self, value: Any, now: int) -> Any:
        """Return a value of the API as the store keeps and compares it. Raises ApiError for another shape."""
        if value is None:
            return None
        try:
            return _TO_STORE[self.type](value, now)
        except (ValueError, TypeError) as error:
            raise ApiError(f'Field "{self.name}" cannot be {value!r}: {error}') from error

    def to_api(self, value: Any) -> Any:
        """Return a stored value as `get` shows it."""
        if self.type == "Data":
            return False  # CiviCRM never unserializes it for a reader (transcripts, QueueItem.get)
        if value is None:
            return None
        if self.type == "Timestamp":
            return format_time(value)
        return bool(value) if self.type == "Boolean" else value

    def echo(self, given: Any, stored: Any) -> Any:
        """Return what create and update show of a value that was given."""
        return format_compact(stored) if self.type == "Timestamp" else given


class Entity(NamedTuple):
    """A table of the store, or a list made up on the spot (Domain, Setting)."""

    name: str
    table: str
    fields: dict[str, Field]

    def field(self, name: Any) -> Field:
        found = self.fields.get(name) if isinstance(name, str) else None
        if found is None or found.extra:
            raise ApiError(f"Invalid field '{name}'")
        return found

    def columns(self) -> list[Field]:
        return [field for field in self.fields.values() if not field.extra]


def _integer(value: Any, _now: int) -> int:
    number = int(value)
    if abs(number) >= _INTEGER_LIMIT:
        raise ValueError("out of range")
    return number


def _boolean(value: Any, _now: int) -> int:
    return 0 if value in ("", "0", 0, False) else 1


def _string(value: Any, _now: int) -> str:
    if isinstance(value, (dict, list)):
        raise TypeError("not a text")
    return str(int(value)) if isinstance(value, bool) else str(value)


def _timestamp(value: Any, now: int) -> int:
    if isinstance(value, (dict, list, bool)):
        raise TypeError("not a time")
    return parse_time(str(value), now)


def _data(value: Any, _now: int) -> str:
    return json.dumps(value, separators=(",", ":"))


_TO_STORE = {
    "Integer": _integer,
    "Boolean": _boolean,
    "String": _string,
    "Timestamp": _timestamp,
    "Data": _data,
}


def _entity(name: str, table: str, *fields: Field) -> Entity:
    return Entity(name, table, {field.name: field for field in fields})


QUEUE = _entity(
    "Queue",
    "civicrm_queue",
    Field("id", "Integer"),
    Field("name", required=True),
    Field("type", required=True),
    Field("runner"),
    Field("batch_limit", "Integer", default=1),
    Field("lease_time", "Integer", default=3600),
    Field("retry_limit", "Integer", default=0),
    Field("retry_interval", "Integer"),
    Field("status", default="active", nullable=True),
    Field("error"),
    Field("is_template", "Boolean", default=0),
    Field("has_base", "Boolean", extra=True),
    Field("base_module", extra=True),
    Field("local_modified_date", "Timestamp", extra=True),
)
QUEUE_ITEM = _entity(
    "QueueItem",
    "civicrm_queue_item",
    Field("id", "Integer"),
    Field("queue_name", required=True),
    Field("weight", "Integer", default=0),
    Field("submit_time", "Timestamp", default="now"),
    Field("release_time", "Timestamp"),
    Field("run_count", "Integer", default=0),
    Field("data", "Data"),
)
CONTACT = _entity(
    "Contact",
    "civicrm_contact",
    Field("id", "Integer"),
    Field("user_id", "Integer"),
    Field("is_blocked", "Boolean", default=0),
)
DOMAIN = _entity("Domain", "", Field("id", "Integer"), Field("name"), Field("description"), Field("version"))
SETTING = _entity("Setting", "", Field("name"), Field("value"), Field("domain_id", "Integer"))
META = _entity(
    "Field",
    "",
    Field("name"),
    Field("type"),
    Field("data_type"),
    Field("required", "Boolean"),
    Field("default_value"),
)
