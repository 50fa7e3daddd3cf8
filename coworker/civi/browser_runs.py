"""Queues that somebody's browser works: we keep off them, or tasks would be run twice (contract D5).

While CiviCRM's setting enableBackgroundQueue is off, an import is run by the browser of who started it. Its
queue is active for a moment before the browser's runner takes it over, and that runner takes leased items,
too. So nothing is claimed from the queue of a UserJob then, nor from any queue in the first second that it is
seen: whose it is stands in the database only some time after it is there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from math import inf
from typing import Any

from coworker.civi.features import MOST_NAMES, Api, ApiCall, rows_or_raise
from coworker.civi.refusals import is_database_error
from coworker.errors import CallError
from coworker.model import QueueInfo

SETTING = "enableBackgroundQueue"
YOUNG = 1.0  # seconds for which a queue is new
_IMPORT = re.compile(r"user_job_\d+")  # how CiviCRM names the queue of an import


class BrowserRuns:
    """What one process knows of the queues that are perhaps a browser's."""

    def __init__(self, client: Api) -> None:
        self._client = client
        self._since: dict[str, float] = {}  # queue → when it was seen first (monotonic seconds)
        self._jobs: set[str] = set()  # queues that are known to be a UserJob's
        self._free: set[str] = set()  # queues that are known not to be

    def trust(self, names: Iterable[str]) -> None:
        """These are not new: another control has seen them."""
        for name in names:
            self._since[name] = -inf

    def without(self, infos: Sequence[QueueInfo]) -> list[QueueInfo]:
        """The queues that may be claimed from now. Raises CallError if the database is lost."""
        now = time.monotonic()
        doubtful = [info.name for info in infos if info.name not in self._free]
        if not doubtful or self._ask(doubtful):
            return list(infos)
        for name in doubtful:
            old = now - self._since.setdefault(name, now) >= YOUNG
            if old and name not in self._jobs and not _IMPORT.fullmatch(name):
                self._free.add(name)
        return [info for info in infos if info.name in self._free]

    def _ask(self, names: list[str]) -> bool:
        """Whether imports run in the background now; if not, see whose these queues are."""
        unknown = [name for name in names if name not in self._jobs]
        parts = [unknown[at : at + MOST_NAMES] for at in range(0, len(unknown), MOST_NAMES)]
        calls: list[ApiCall] = [("Setting", "get", {"select": [SETTING]}), *map(_jobs_of, parts)]
        setting, *answers = self._client.api4_batch(calls)
        for each in (setting, *answers):
            if isinstance(each, CallError) and is_database_error(str(each)):
                raise each
        if _is_on(setting):
            return True
        for answer in answers:
            # Whose they are may be refused, as over HTTP; then the name must tell.
            rows = [] if isinstance(answer, CallError) else answer
            self._jobs.update(str(row.get("queue_id.name")) for row in rows if isinstance(row, dict))
        return False


def _jobs_of(names: list[str]) -> ApiCall:
    return "UserJob", "get", {"select": ["id", "queue_id.name"], "where": [["queue_id.name", "IN", names]]}


def _is_on(answer: list[Any] | CallError) -> bool:
    """Whether the setting is on; what cannot be read is not."""
    try:
        return is_on(rows_or_raise(answer)[0]["value"])
    except (CallError, LookupError, TypeError):
        return False


def is_on(value: object) -> bool:
    """Whether this is the value of a setting that is on. `inherit`, as for maintenance, is not."""
    return str(value) in ("1", "True")
