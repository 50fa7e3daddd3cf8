"""What a site can do and which queues it has: the calls that `queues` and `looking` share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from coworker.civi.refusals import does_not_exist
from coworker.errors import CallError, ProtocolError
from coworker.model import QueueInfo
from coworker.version import version_key

QUEUE_ITEM_SINCE = (6, 4)  # contract A3
MOST_NAMES = 500  # of queues in one request
ApiCall = tuple[str, str, dict[str, Any]]  # entity, action, params


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the welcome line says. `login`: this site can log in (authx is there)."""

    version: str
    trusted: bool
    login: bool


class Api(Protocol):
    """What these functions need of a client: `client.Client`, or `http.WebClient`.

    `masks_errors`: it may not be told why the site refuses something.
    """

    @property
    def masks_errors(self) -> bool: ...
    @property
    def welcome(self) -> Welcome | None: ...

    def api4(
        self, entity: str, action: str, params: dict[str, Any], *, timeout: float | None = None
    ) -> list[Any]: ...

    def api4_batch(
        self, calls: Sequence[ApiCall], *, timeout: float | None = None
    ) -> list[list[Any] | CallError]: ...


@dataclass(frozen=True, slots=True)
class SiteFeatures:
    """What this CiviCRM can do beyond 5.51 (contract A3). `agent`: Queue has that field.

    `user_jobs`: it has imports, which a browser may run. The Python site has none.
    """

    queue_item: bool
    agent: bool
    user_jobs: bool = True


def probe(client: Api) -> SiteFeatures:
    """Find out what the site can do."""
    if client.masks_errors and client.welcome is not None:  # what does not exist is refused like all else
        return SiteFeatures(queue_item=version_key(client.welcome.version) >= QUEUE_ITEM_SINCE, agent=False)
    fields, items, jobs = client.api4_batch(
        [
            ("Queue", "getFields", {"select": ["name"]}),
            ("QueueItem", "get", {"select": ["id"], "limit": 1}),
            ("UserJob", "get", {"select": ["id"], "limit": 1}),
        ]
    )
    if isinstance(items, CallError) and not does_not_exist(str(items)):
        raise items
    names = [field["name"] for field in rows_or_raise(fields)]
    has_jobs = not isinstance(jobs, CallError) or not does_not_exist(str(jobs))
    return SiteFeatures(not isinstance(items, CallError), agent="agent" in names, user_jobs=has_jobs)


def active_queues(client: Api, features: SiteFeatures | None = None) -> dict[str, QueueInfo]:
    """Return the queues that a background agent may work, by name. Without `features` the site is probed."""
    return queue_infos(client.api4(*active_queues_call(features or probe(client))))


def active_queues_call(features: SiteFeatures, names: Collection[str] = ()) -> ApiCall:
    """Make the Queue.get that `queue_infos` reads: runner not empty, active, not a template (contract A3).

    If `names` are given and are not too many to name, it asks only for these.
    """
    where: list[Any] = [["runner", "IS NOT EMPTY"], ["status", "=", "active"], ["is_template", "=", False]]
    if 0 < len(names) <= MOST_NAMES:
        where.append(["name", "IN", sorted(names)])
    if features.agent:
        where.append(["agent", "CONTAINS", "server"])
    select = ["name", "type", "runner", "batch_limit", "lease_time", "retry_limit", "retry_interval", "error"]
    return "Queue", "get", {"select": select, "where": where}


def queue_infos(rows: Sequence[Any]) -> dict[str, QueueInfo]:
    """Read the rows of Queue.get; fields that are null take the defaults of CiviCRM."""
    infos = {}
    for row in rows:
        try:
            infos[str(row["name"])] = QueueInfo(
                name=str(row["name"]),
                type=str(row.get("type") or "SqlParallel"),
                batch_limit=_number(row.get("batch_limit"), 1),
                lease_time=_number(row.get("lease_time"), 3600) or 3600,
                retry_limit=_number(row.get("retry_limit"), 0),
                retry_interval=_number(row.get("retry_interval"), 0),
                error=row.get("error"),
                runner=str(row.get("runner") or "task"),
            )
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ProtocolError(f"Queue.get answered something odd: {row!r}"[:300]) from error
    return infos


def rows_or_raise(answer: list[Any] | CallError) -> list[Any]:
    """Return the rows in one answer of a batch, or raise its error."""
    if isinstance(answer, CallError):
        raise answer
    return answer


def _number(value: Any, default: int) -> int:
    return default if value is None else int(value)
