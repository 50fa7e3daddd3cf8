"""The tasks of the demo. Each writes its beginning and its end to the diary, its first argument."""

from __future__ import annotations

import time

from coworker.demo.diary import FAILED, OK, START, write
from coworker.queues.task import TaskContext


def succeed(context: TaskContext, diary: str) -> bool:
    """Do nothing."""
    write(diary, START, context)
    write(diary, OK, context)
    return True


def nap(context: TaskContext, diary: str, seconds: float) -> bool:
    """Wait for something slow."""
    write(diary, START, context)
    time.sleep(seconds)
    write(diary, OK, context)
    return True


def fail_until(context: TaskContext, diary: str, tries: int) -> bool:
    """Fail until the try with this number, by returning false."""
    write(diary, START, context)
    succeeded = context.run_count >= tries
    write(diary, OK if succeeded else FAILED, context)
    return succeeded


def fail(context: TaskContext, diary: str) -> bool:
    """Fail, by raising."""
    write(diary, START, context)
    write(diary, FAILED, context)
    raise RuntimeError("this task was made to fail")
