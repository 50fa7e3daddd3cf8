"""Rows of civicrm_queue_item through the bundled adapter's --settle: before 6.4 there is no QueueItem API.

One UPDATE of the database a row, so its guards are atomic, which those of QueueItem.update are not (rule 6).
Rows are shown as `queues` shows them; their times are in UTC, whatever the site's zone.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from coworker.civi import launch
from coworker.civi.pipe import Pipe
from coworker.civi.queues import Row, Rows
from coworker.errors import CallError, ProtocolError
from coworker.unix.poller import Poller, steady

PREFIX = b"coworker-settle "  # what every answer begins with
_STEP = re.compile(r"\+(\d+) seconds")


class AdapterRows:
    """One process of the adapter, for a few calls. It is a `queues.RowStore`; `timeout` is in seconds."""

    def __init__(
        self, command: str, *, cwd: Path | None, poller: Poller, timeout: float, cache: Path | None = None
    ) -> None:
        """`command` is the site's pipe, which starts the adapter; `cache` as in `launch.expand`.

        Raises BootError and what a pipe raises.
        """
        env = launch.environment(os.environ)
        name = f"{command} --settle"
        self._timeout = timeout
        self._pipe = Pipe(launch.expand(name, cache), cwd=cwd, env=env, poller=poller, name=name)
        self._pipe.set_prefix(PREFIX)
        try:
            self._answered(self._pipe.read_line(steady() + timeout))
        except BaseException:
            self._pipe.kill()
            raise

    def close(self) -> None:
        self._pipe.end()

    def rows(self, queue: str, item_ids: Sequence[str]) -> Rows:
        """Return those of these rows that are left."""
        answers, now = self._ask([{"queue": queue, "id": each} for each in item_ids])
        return Rows([_row(each) for each in answers if each is not None], now if answers else None)

    def released_between(self, queue: str, first: str, last: str) -> Rows:
        """Return the rows whose release_time lies in this range."""
        answers, now = self._ask([{"queue": queue, "release": [_epoch(first), _epoch(last)]}])
        found = [_row(each) for each in answers[0]]
        return Rows(found, now if found else None)

    def update(self, queue: str, rows: Sequence[Row], values: dict[str, Any]) -> list[str]:
        """Update rows if they still are as they were read. Returns the ids of those that were."""
        change = {"run_count": values["run_count"]} if "run_count" in values else {}
        if "release_time" in values:
            change["release_in"] = _seconds(values["release_time"])
        entries = [
            {"queue": queue, "id": row.id, "run_count": row.run_count, "release": _window(row), "set": change}
            for row in rows
        ]
        answers, _ = self._ask(entries)
        return [row.id for row, changed in zip(rows, answers, strict=True) if changed]

    def clock(self) -> datetime:
        """Return the site's clock, in UTC."""
        return datetime.fromisoformat(self._ask([])[1])

    def _ask(self, entries: list[dict[str, Any]]) -> tuple[list[Any], str]:
        line = self._pipe.exchange(json.dumps(entries).encode(), steady() + self._timeout)
        answer = self._answered(line)
        if "error" in answer:
            raise CallError(str(answer["error"]))
        try:
            answers = list(answer.get("reports") or [])
            now = _text(answer["now"])
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"the adapter answered something odd: {answer!r}"[:300]) from error
        if len(answers) != len(entries):
            raise ProtocolError(f"the adapter gave {len(answers)} answers to {len(entries)} questions")
        return answers, now

    @staticmethod
    def _answered(line: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ProtocolError(f"the adapter answered something odd: {line[:300]!r}")
        return answer


def _row(row: Any) -> Row:
    try:
        released = row["release_time"]
        return Row(str(row["id"]), int(row["run_count"]), None if released is None else _text(released))
    except (TypeError, KeyError, ValueError) as error:
        raise ProtocolError(f"the adapter answered something odd: {row!r}"[:300]) from error


def _window(row: Row) -> list[int] | None:
    return None if row.release_time is None else [_epoch(row.release_time)] * 2


def _text(epoch: int) -> str:
    return datetime.fromtimestamp(int(epoch), timezone.utc).replace(tzinfo=None).isoformat(" ", "seconds")


def _epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp())


def _seconds(release: str | None) -> int | None:
    """Read what settling writes into release_time: None, or "+60 seconds"."""
    if release is None:
        return None
    match = _STEP.fullmatch(release)
    if match is None:
        raise ValueError(f"{release!r} is not a release time")
    return int(match[1])
