"""What the tasks wrote down themselves: the truth about what ran, when, how often and as whom.

One line for a beginning and one for an end, each appended in one write, so that lines of several processes
never mix. Every pipe imports this: it must stay light.
"""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

from coworker.queues.task import TaskContext

START, OK, FAILED = "start", "ok", "failed"
_NOBODY = "system"


class DiaryEntry(NamedTuple):
    """One line of the diary. `what` is START, OK or FAILED; `at` is in seconds of the monotonic clock."""

    what: str
    item: str
    queue: str
    contact: int | None
    pid: int
    run_count: int
    at: float


def write(path: str, what: str, context: TaskContext) -> None:
    """Append one line about the task that `context` belongs to."""
    who = context.contact or _NOBODY
    fields = (what, context.item_id, context.queue, who, os.getpid(), context.run_count, time.monotonic())
    os.write(_open(path), (" ".join(map(str, fields)) + "\n").encode())


@cache
def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def read(path: Path) -> list[DiaryEntry]:
    """Return every whole line, in the order of writing. Without a file nothing ran."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    return [_parse(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _parse(line: str) -> DiaryEntry:
    what, item, queue, who, pid, run_count, at = line.split()
    contact = None if who == _NOBODY else int(who)
    return DiaryEntry(what, item, queue, contact, int(pid), int(run_count), float(at))
