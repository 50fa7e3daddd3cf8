"""The calls that claim and run items, and those that read and write their rows.

What finds queues with work is in `looking`, their settings in `features`.

Calls raise what `Client` raises. A CallError of a claim must be judged by
`refusals.is_database_error`: such a pipe may keep LOCK TABLES (contract A5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from coworker.civi.features import Api
from coworker.civi.outcome import Outcomes, outcomes_of
from coworker.errors import ProtocolError
from coworker.model import Identity, Item

NOBODY = -1  # a contact that cannot exist: CiviCRM refuses to run the item before its callback


class Row(NamedTuple):
    """A row of civicrm_queue_item. `release_time` is in the site's clock: "YYYY-MM-DD HH:MM:SS" or None."""

    id: str
    run_count: int
    release_time: str | None


class Rows(NamedTuple):
    """Rows, and the site's clock when they were read; None if there were none."""

    rows: list[Row]
    now: str | None


class Batch(NamedTuple):
    """The items of a claim, and the `release_time` that their rows show; None if the site does not say."""

    items: list[Item]
    release_time: str | None


def claim(
    client: Api, queue: str, *, timeout: float | None = None, run_as_in_data: bool = False
) -> list[Item]:
    """Claim as `claim_batch` does, and return only the items."""
    return claim_batch(client, queue, timeout=timeout, run_as_in_data=run_as_in_data).items


def claim_batch(
    client: Api, queue: str, *, timeout: float | None = None, run_as_in_data: bool = False
) -> Batch:
    """Claim up to batch_limit items; they are leased to us from now on.

    CiviCRM leaves out what it does not know of the selection; MINIPIPE adds release_time. `data` is not
    selected: the site could not encode some of it, and the claim would be lost (contract A3).
    But before 5.56 that is where run_as is found: then `run_as_in_data`.
    Raises ProtocolError for an answer that does not name its items: they are leased all the same.
    """
    select = ["id", "queue", "data" if run_as_in_data else "run_as", "release_time"]
    rows = client.api4("Queue", "claimItems", {"queue": queue, "select": select}, timeout=timeout)
    try:
        if run_as_in_data:
            items = [Item(str(row["id"]), identity_of((row["data"] or {}).get("runAs"))) for row in rows]
        else:
            items = [Item(str(row["id"]), identity_of(row.get("run_as"))) for row in rows]
        return Batch(items, _time_of(rows[0].get("release_time")) if rows else None)
    except (TypeError, KeyError, AttributeError, LookupError) as error:
        raise ProtocolError(f"claimItems answered something odd: {rows!r}"[:300]) from error


def _time_of(value: Any) -> str | None:
    """A time of the site, if it is one."""
    try:
        return datetime.fromisoformat(value).isoformat(" ", "seconds")
    except (TypeError, ValueError):
        return None


def identity_of(run_as: Any) -> Identity:
    """Normalise `run_as`; a contact or domain that is not a number gives an identity that nobody can have."""
    try:
        return Identity.from_run_as(run_as)
    except (ValueError, TypeError):
        return Identity(contact=NOBODY)


def run(client: Api, queue: str, item_ids: Sequence[str], *, timeout: float | None = None) -> Outcomes:
    """Run claimed items, in order, and return the outcome of each by its id.

    Do it once for a claim, never twice: runItems checks neither status nor lease (contract A3).
    """
    items = [{"id": item_id, "queue": queue} for item_id in item_ids]
    return outcomes_of(client.api4("Queue", "runItems", {"items": items}, timeout=timeout), item_ids)


class RowStore(Protocol):
    """What reads and writes rows for settling: `ApiRows`, or `adapter.AdapterRows`."""

    def rows(self, queue: str, item_ids: Sequence[str]) -> Rows: ...
    def released_between(self, queue: str, first: str, last: str) -> Rows: ...
    def update(self, queue: str, rows: Sequence[Row], values: dict[str, Any]) -> list[str]: ...
    def clock(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class ApiRows:
    """Rows through the QueueItem API, which a site has from 6.4 on."""

    client: Api

    def rows(self, queue: str, item_ids: Sequence[str]) -> Rows:
        """Return those of these rows that are left, for settling."""
        return self._get(queue, ["id", "IN", list(item_ids)]) if item_ids else Rows([], None)

    def released_between(self, queue: str, first: str, last: str) -> Rows:
        """Return the rows whose release_time lies in this range of the site's clock (rule 7)."""
        return self._get(queue, ["release_time", "BETWEEN", [first, last]])

    def update(self, queue: str, rows: Sequence[Row], values: dict[str, Any]) -> list[str]:
        """Update rows that are equal but for their ids, if they still are as they were read (rule 6).

        Returns the ids of those that were. `values`: run_count, release_time (None, or text as strtotime
        takes it, as "+60 seconds").
        """
        seen = rows[0]
        unchanged = ["release_time", "IS NULL"]
        if seen.release_time is not None:
            unchanged = ["release_time", "=", seen.release_time]
        ids = ["id", "=", seen.id] if len(rows) == 1 else ["id", "IN", [row.id for row in rows]]
        where = [ids, ["queue_name", "=", queue], ["run_count", "=", seen.run_count], unchanged]
        updated = self.client.api4("QueueItem", "update", {"where": where, "values": values})
        try:
            return [str(row["id"]) for row in updated]
        except (TypeError, KeyError) as error:
            raise ProtocolError(f"QueueItem.update answered something odd: {updated!r}"[:300]) from error

    def clock(self) -> datetime:
        """Return the site's clock, in its own zone."""
        answer = self.client.api4("Domain", "get", {"select": ["NOW() AS now"], "currentDomain": True})
        try:
            return datetime.fromisoformat(answer[0]["now"])
        except (TypeError, KeyError, IndexError, ValueError) as error:
            raise ProtocolError(f"Domain.get answered something odd: {answer!r}"[:300]) from error

    def _get(self, queue: str, condition: list[Any]) -> Rows:
        params = {
            "select": ["id", "run_count", "release_time", "NOW() AS now"],
            "where": [["queue_name", "=", queue], condition],
            "orderBy": {"weight": "ASC", "id": "ASC"},
        }
        found = self.client.api4("QueueItem", "get", params)
        try:
            read = [Row(str(row["id"]), int(row["run_count"]), row["release_time"]) for row in found]
            return Rows(read, found[0]["now"] if found else None)
        except (TypeError, KeyError, ValueError) as error:
            raise ProtocolError(f"QueueItem.get answered something odd: {found!r}"[:300]) from error


def moment(clock: datetime, seconds: float) -> str:
    """Return the moment so many seconds after `clock`, as the site writes times."""
    return (clock + timedelta(seconds=round(seconds))).isoformat(" ", "seconds")
