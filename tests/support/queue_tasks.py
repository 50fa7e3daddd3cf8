"""Tasks for the tests of the queue rules; `seen` is what they were called with."""

import os
import sys
from pathlib import Path

seen = []


def note(ctx, *arguments):
    seen.append((ctx, arguments))


def throw(ctx, text="boom"):
    raise ValueError(text)


def mistake(ctx):
    return 1 + "1"


def say_false(ctx):
    return False


def leave(ctx, status=3):
    sys.exit(status)


def interrupt(ctx):
    raise KeyboardInterrupt


def fork_and_return(ctx, path):
    """The child comes back from the task; only the parent may settle it."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        Path(path).write_text(str(os.waitstatus_to_exitcode(status)))


class Kept:
    @staticmethod
    def deep(ctx):
        seen.append((ctx, ("deep",)))


not_callable = 5
