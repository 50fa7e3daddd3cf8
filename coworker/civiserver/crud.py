"""get, create, save, update, delete and getFields of an entity that a store keeps, in APIv4's shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coworker.civiserver.errors import ApiError
from coworker.civiserver.fields import META, QUEUE_ITEM, Entity, Row
from coworker.civiserver.query import parse_query, select_rows
from coworker.civiserver.service import QueueService, to_stored
from coworker.queues.task import Task

Params = dict[str, Any]


class Crud:
    """The actions of one entity."""

    def __init__(self, entity: Entity, service: QueueService) -> None:
        self._entity = entity
        self._service = service
        self._site = service.site

    def get(self, params: Params) -> list[Row]:
        return self._site.find(parse_query(self._entity, params, self._service.store.now()))

    def create(self, params: Params) -> list[Row]:
        return self._create([require(params, "values")], "create")

    def save(self, params: Params) -> list[Row]:
        """Create many, in one transaction; update those with an id or equal in the `match` fields."""
        defaults = params.get("defaults") or {}
        records = [{**defaults, **record} for record in require(params, "records")]
        match = params.get("match") or []
        news: list[Row] = []
        saved: list[Row] = []
        for record in records:
            row_id = record.get("id") or self._find_match(record, match)
            if row_id:
                saved += self._update([int(row_id)], record)
            else:
                news.append(record)
        return saved + self._create(news, "save")

    def update(self, params: Params) -> list[Row]:
        """Select first, then update by id, one by one: not atomic, as in CiviCRM (contract A3)."""
        values = require(params, "values")
        return self._update(self._find_ids(require(params, "where")), values)

    def delete(self, params: Params) -> list[Row]:
        ids = self._find_ids(require(params, "where"))
        self._site.delete(self._entity, ids)
        return [{"id": row_id} for row_id in ids]

    def get_fields(self, params: Params) -> list[Row]:
        rows = [
            {
                "name": field.name,
                "type": "Extra" if field.extra else "Field",
                "data_type": "Text" if field.type == "Data" else field.type,
                "required": int(field.required),
                "default_value": field.default,
            }
            for field in self._entity.fields.values()
        ]
        return select_rows(parse_query(META, params, self._service.store.now()), rows)

    def _create(self, records: Sequence[Row], action: str) -> list[Row]:
        required = [field.name for field in self._entity.columns() if field.required]
        missing = {name for record in records for name in required if record.get(name) in (None, "")}
        if missing:
            names = ", ".join(name for name in required if name in missing)
            raise ApiError(f"Mandatory values missing from Api4 {self._entity.name}::{action}: {names}")
        ids = self._service.insert(self._entity, [self._normal(record) for record in records])
        now = self._service.store.now()
        return [
            self._echo(row_id, record, to_stored(self._entity, record, now))
            for row_id, record in zip(ids, records, strict=True)
        ]

    def _update(self, ids: Sequence[int], values: Row) -> list[Row]:
        given = {name: value for name, value in values.items() if name != "id"}
        stored = to_stored(self._entity, self._normal(given), self._service.store.now())
        for row_id in ids:
            self._site.update(self._entity, row_id, stored)
        return [self._echo(row_id, given, stored) for row_id in ids]

    def _normal(self, record: Row) -> Row:
        """Give a task's payload the keys that claimItems shows, in their order. Others stay as they are."""
        if self._entity is not QUEUE_ITEM or "data" not in record:
            return record
        task = Task.from_data(record["data"])
        return {**record, "data": task.to_data()} if task else record

    def _echo(self, row_id: int, given: Row, stored: Row) -> Row:
        fields = self._entity.fields
        shown = {
            name: fields[name].echo(value, stored[name]) for name, value in given.items() if name in stored
        }
        return {"id": row_id, **shown, "custom": None, "check_permissions": None}

    def _find_ids(self, where: Any) -> list[int]:
        query = parse_query(self._entity, {"select": ["id"], "where": where}, self._service.store.now())
        return [row["id"] for row in self._site.find(query)]

    def _find_match(self, record: Row, match: Sequence[str]) -> int | None:
        if not match:
            return None
        ids = self._find_ids([[name, "=", record.get(name)] for name in match])
        return ids[0] if ids else None


def require(params: Params, name: str) -> Any:
    """Return a parameter that must be there. Raises ApiError in APIv4's words."""
    value = params.get(name)
    if value in (None, "", [], {}):
        raise ApiError(f'Parameter "{name}" is required.')
    return value
