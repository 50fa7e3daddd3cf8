"""APIv4: entities, their actions, and who may call them. Results are lists of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from coworker.civiserver.crud import Crud, require
from coworker.civiserver.errors import ApiError
from coworker.civiserver.fields import CONTACT, DOMAIN, QUEUE, QUEUE_ITEM, SETTING, Entity, Row
from coworker.civiserver.login import Login
from coworker.civiserver.query import parse_query, select_rows
from coworker.civiserver.service import QueueService
from coworker.queues.task import Task, parse_data

Params = dict[str, Any]
Action = Callable[[Params], list[Row]]
_SETTINGS = {"environment": "Production", "queue_paused": False, "core_maintenance_mode": "0"}
_DEFAULT_REQUESTS, _DEFAULT_DURATION = 10, 120  # Queue.run


class Request(NamedTuple):
    """One call of the API. `check` tells whether the session's own permissions count."""

    entity: str
    action: str
    params: Params
    check: bool


class SessionApi:
    """The entities and actions of one session."""

    def __init__(self, service: QueueService, login: Login) -> None:
        self._service = service
        self._login = login
        self._bag: Row | None = None
        self._entities = self._make_entities()

    def call(self, request: Request) -> list[Row]:
        """Run one call. Raises ApiError in CiviCRM's words, StoreError for the database."""
        actions = self._entities.get(request.entity)
        if actions is None:
            raise ApiError(
                f"API ({request.entity}, {request.action}) does not exist "
                "(or the extension it belongs to is not enabled)."
            )
        action = actions.get(request.action)
        if action is None:
            raise ApiError(f"Api {request.entity} {request.action} version 4 does not exist.")
        if request.check and not self._login.permitted:
            raise ApiError(f"Authorization failed: CiviCRM APIv4 ({request.entity}::{request.action})")
        self._service.store.check()
        rows = action(request.params)
        if request.check and request.entity == "QueueItem":
            for row in rows:
                row.pop("data", None)  # never shown to anybody who is asked for permissions
        return rows

    def _make_entities(self) -> dict[str, dict[str, Action]]:
        release = self._service.release
        queue = self._crud(QUEUE) | {"claimItems": self._claim_items, "runItems": self._run_items}
        if release.has_run and self._service.store.abilities.statistics:
            queue["run"] = self._run
        if release.has_reset:
            queue["reset"] = self._reset
        entities: dict[str, dict[str, Action]] = {
            "Queue": queue,
            "Contact": self._crud(CONTACT),
            "Domain": {"get": self._get_domain},
            "Setting": {"get": self._get_setting, "set": self._set_setting},
        }
        if release.has_queue_item:
            entities["QueueItem"] = self._crud(QUEUE_ITEM)
        return entities

    def _crud(self, entity: Entity) -> dict[str, Action]:
        crud = Crud(entity, self._service)
        return {
            "get": crud.get,
            "create": crud.create,
            "save": crud.save,
            "update": crud.update,
            "delete": crud.delete,
            "getFields": crud.get_fields,
        }

    # Queue

    def _claim_items(self, params: Params) -> list[Row]:
        queue = params.get("queue")
        if not queue:
            raise ApiError("Missing required parameter: $queue")
        select = params.get("select") or ["id", "data", "queue"]
        run_as = "run_as" in select and self._service.release.selects_run_as
        rows: list[Row] = []
        for item in self._service.claim(str(queue)):
            data = parse_data(item.data) if run_as or "data" in select else None
            row: Row = {}
            for name in select:
                if name == "id":
                    row["id"] = str(item.id)
                elif name == "queue":
                    row["queue"] = queue
                elif name == "data":
                    row["data"] = data
                elif name == "run_as" and run_as:
                    task = Task.from_data(data)
                    row["run_as"] = task.run_as if task else None
            if not rows and "release_time" in select:  # the same for all of them: it takes its time
                row["release_time"] = QUEUE_ITEM.fields["release_time"].to_api(item.release_time)
            rows.append(row)
        return rows

    def _run_items(self, params: Params) -> list[Row]:
        items, identity = params.get("items"), self._login.identity
        if items:
            queue, ids = _check_stubs(items)
            results = self._service.run_claimed(queue, ids, identity)
        elif params.get("queue"):
            queue = str(params["queue"])
            results = self._service.run_next(queue, identity)
        else:
            raise ApiError("runItems: Requires either 'queue' or 'item'.")
        return [
            {"outcome": outcome.value, "item": {"id": str(item_id), "queue": queue}}
            for item_id, outcome in results
        ]

    def _run(self, params: Params) -> list[Row]:
        return [
            self._service.run_loop(
                str(require(params, "queue")),
                params.get("maxRequests", _DEFAULT_REQUESTS),
                params.get("maxDuration", _DEFAULT_DURATION),
                self._login.identity,
            )
        ]

    def _reset(self, params: Params) -> list[Row]:
        return [{"items": self._service.reset(str(require(params, "queue")))}]

    # Domain and Setting

    def _get_domain(self, params: Params) -> list[Row]:
        ids = {self._service.domain} if params.get("currentDomain") else {1, self._service.domain}
        version = self._service.release.version
        rows = [
            {"id": domain, "name": f"Domain {domain}", "description": None, "version": version}
            for domain in sorted(ids)
        ]
        return select_rows(parse_query(DOMAIN, params, self._service.store.now()), rows)

    def _get_setting(self, params: Params) -> list[Row]:
        bag = self._settings()
        names = params.get("select") or sorted(bag)
        self._check_settings(names)
        rows = [{"name": name, "value": bag[name], "domain_id": self._service.domain} for name in names]
        conditions = {"where": params.get("where")}
        return select_rows(parse_query(SETTING, conditions, self._service.store.now()), rows)

    def _set_setting(self, params: Params) -> list[Row]:
        values, domain = require(params, "values"), self._service.domain
        self._check_settings(values)
        bag = self._settings()
        for name, value in values.items():
            self._service.site.set_setting(domain, name, value)
            bag[name] = value
        return [{"name": name, "value": value, "domain_id": domain} for name, value in values.items()]

    def _settings(self) -> Row:
        """Read the settings once for the life of the process, as CiviCRM does: an old pipe shows old ones."""
        if self._bag is None:
            self._bag = {**_SETTINGS, **self._service.site.settings(self._service.domain)}
        return self._bag

    def _check_settings(self, names: Any) -> None:
        release = self._service.release
        known = set(_SETTINGS)
        known -= {"core_maintenance_mode"} if not release.has_reset else set()
        known -= {"queue_paused"} if not release.has_run else set()
        unknown = [str(name) for name in names if name not in known]
        if unknown:
            raise ApiError(f"Unknown settings for domain {self._service.domain}: {', '.join(unknown)}")


def _check_stubs(items: Any) -> tuple[str, list[int]]:
    """Return the queue and the ids of `[{id, queue}, ...]`."""
    if not isinstance(items, list) or not isinstance(items[0], dict):
        raise ApiError("Queue items must be given as numeric array.")
    names: list[str] = []
    for item in items:
        if not isinstance(item, dict) or not item.get("queue"):
            raise ApiError("Queue item requires property 'queue'.")
        if not item.get("id"):
            raise ApiError("Queue item requires property 'id'.")
        if item["queue"] not in names:
            names.append(str(item["queue"]))
    if len(names) > 1:
        raise ApiError(f"Queue items cannot be mixed. Found queues: {', '.join(names)}")
    field = QUEUE_ITEM.fields["id"]
    return names[0], [field.to_store(item["id"], 0) for item in items]
