"""Which queues have work, without claiming, and from 6.4 on without counting rows (doc/design.md).

Counting what is ready costs 10 ms at 10,000 rows and 140 ms at 100,000; the distinct names of the queues
that have rows, and then a look at one row of each, cost 1 to 2 ms a queue at any size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from coworker.civi.browser_runs import BrowserRuns
from coworker.civi.features import (
    Api,
    ApiCall,
    SiteFeatures,
    active_queues,
    active_queues_call,
    probe,
    queue_infos,
)
from coworker.civi.refusals import does_not_exist, is_database_error
from coworker.errors import CallError
from coworker.model import QueueInfo

_BLOCKED_HEAD = 10.0  # seconds between claims from a linear queue that may be blocked by its head


class LookResult(NamedTuple):
    """Queues with work, in the order in which the site names them, and how long the look took (seconds)."""

    queues: list[QueueInfo]
    seconds: float


class Looker:
    """Finds the queues with work of one site, through one client."""

    def __init__(self, client: Api) -> None:
        self.failed: dict[str, str] = {}  # queue → why the last look at it failed
        self.with_rows: frozenset[str] | None = None  # the queues that had rows at the last look, if known
        self.browser_runs = BrowserRuns(client)
        self._client = client
        self._features: SiteFeatures | None = None
        self._has_queue_run = True  # until it is found missing
        self._retry_head: dict[str, float] = {}  # linear queue → when to ask again whether its head is free

    @property
    def features(self) -> SiteFeatures:
        """What the site can do; probed once."""
        if self._features is None:
            self._features = probe(self._client)
        return self._features

    @property
    def has_queue_item(self) -> bool:
        """Whether rows can be read and updated (6.4 on), as settling and renewing leases need it."""
        return self.features.queue_item

    def look(self, skip: Collection[str] = ()) -> LookResult:
        """Find the queues with work, except those in `skip` (at work, or backing off).

        A failure of one queue is kept in `failed`. Raises CallError for what concerns the whole site.
        """
        began = time.monotonic()
        self.failed.clear()
        found = self._look_at_rows(skip) if self.has_queue_item else self._ask_queues(skip)
        if found and self.features.user_jobs:
            found = self.browser_runs.without(found)
        return LookResult(found, time.monotonic() - began)

    def _look_at_rows(self, skip: Collection[str]) -> list[QueueInfo]:
        """Look at rows, and ask for settings only of queues with some: there may be thousands of others."""
        named = self._client.api4("QueueItem", "get", {"select": ["queue_name"], "groupBy": ["queue_name"]})
        self.with_rows = frozenset(row["queue_name"] for row in named)
        wanted = self.with_rows.difference(skip)
        if not wanted:
            return []
        settings = self._client.api4(*active_queues_call(self.features, wanted))
        infos = [info for info in queue_infos(settings).values() if info.name in wanted]
        answers = self._client.api4_batch([_first_row_call(info) for info in infos])
        return self._ready(infos, answers, _row_is_ready)

    def _ask_queues(self, skip: Collection[str]) -> list[QueueInfo]:
        """Ask as before 6.4: Queue.run of nothing counts (5.67 on); before that, the claim is the look."""
        infos = [
            info for info in active_queues(self._client, self.features).values() if info.name not in skip
        ]
        if not self._has_queue_run:
            return infos
        answers = self._client.api4_batch(
            [("Queue", "run", {"queue": info.name, "maxRequests": 0}) for info in infos]
        )
        if any(isinstance(answer, CallError) and does_not_exist(str(answer)) for answer in answers):
            self._has_queue_run = False
            return infos
        self._retry_head = {info.name: self._retry_head.get(info.name, 0.0) for info in infos if info.linear}
        return self._ready(infos, answers, self._counts_say_ready)

    def _ready(
        self,
        infos: list[QueueInfo],
        answers: list[list[Any] | CallError],
        is_ready: Callable[[QueueInfo, list[Any]], bool],
    ) -> list[QueueInfo]:
        """Pick the queues whose answer says so. One that fails is remembered and spoils no other."""
        ready = []
        for info, answer in zip(infos, answers, strict=True):
            if not isinstance(answer, CallError):
                if is_ready(info, answer):
                    ready.append(info)
            elif is_database_error(str(answer)):
                raise answer
            else:
                self.failed[info.name] = str(answer)
        return ready

    def _counts_say_ready(self, info: QueueInfo, answer: list[Any]) -> bool:
        counts = answer[0] if answer else {}
        if not int(counts.get("queue_ready") or 0):
            return False
        if not info.linear or not int(counts.get("queue_blocked") or 0):
            return True
        # What is blocked is nearly always the head, leased: then nothing can be claimed. But it may be a
        # delayed row further back, and the counts do not tell: so let a claim find out now and then.
        now = time.monotonic()
        if now < self._retry_head[info.name]:
            return False
        self._retry_head[info.name] = now + _BLOCKED_HEAD
        return True


def _first_row_call(info: QueueInfo) -> ApiCall:
    """Ask for one row: any that is free; of a linear queue the head, free or not (contract A4).

    `<` now, because a claim in the second in which a lease ends does not get the row yet.
    """
    where: list[Any] = [["queue_name", "=", info.name]]
    if info.linear:
        select, order = ["id", "release_time", "NOW() AS now"], {"weight": "ASC", "id": "ASC"}
        return "QueueItem", "get", {"select": select, "where": where, "orderBy": order, "limit": 1}
    where.append(["OR", [["release_time", "IS NULL"], ["release_time", "<", "now"]]])
    return "QueueItem", "get", {"select": ["id"], "where": where, "limit": 1}


def _row_is_ready(info: QueueInfo, answer: list[Any]) -> bool:
    if not answer or not info.linear:
        return bool(answer)
    head = answer[0]
    return head["release_time"] is None or bool(head["release_time"] < head["now"])
