"""The tasks of the demo. Each writes its beginning and its end to the journal, its first argument."""

from __future__ import annotations

import time

from coworker.demo.journal import FAILED, OK, START, write
from coworker.queues.task import TaskContext


def succeed(context: TaskContext, journal: str) -> bool:
    """Do nothing."""
    write(journal, START, context)
    write(journal, OK, context)
    return True


def nap(context: TaskContext, journal: str, seconds: float) -> bool:
    """Wait for something slow."""
    write(journal, START, context)
    time.sleep(seconds)
    write(journal, OK, context)
    return True


def fail_until(context: TaskContext, journal: str, tries: int) -> bool:
    """Fail until the try with this number, by returning false."""
    write(journal, START, context)
    succeeded = context.run_count >= tries
    write(journal, OK if succeeded else FAILED, context)
    return succeeded


def fail(context: TaskContext, journal: str) -> bool:
    """Fail, by raising."""
    write(journal, START, context)
    write(journal, FAILED, context)
    raise RuntimeError("this task was made to fail")
