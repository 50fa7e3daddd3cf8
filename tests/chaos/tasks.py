"""Tasks that behave, and tasks that do not. Each appends its start and its end to one file (O_APPEND)."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager

from support.tasks import append


def note(path, word, ctx):
    """WORD ITEM QUEUE TRY PID DAEMON TIME."""
    daemon = os.environ.get("CHAOS_DAEMON", "-")
    append(path, word, ctx.item_id, ctx.queue, ctx.run_count, os.getpid(), daemon, f"{time.time():.4f}")


@contextmanager
def noted(path, ctx):
    note(path, "start", ctx)
    yield
    note(path, "end", ctx)


def nap(ctx, path, seconds):
    with noted(path, ctx):
        time.sleep(seconds)
    return True


def fail(ctx, path):
    with noted(path, ctx):
        pass
    raise RuntimeError("as it was made to")


def leave(ctx, path):
    """As PHP's exit() does."""
    note(path, "start", ctx)
    sys.exit(3)


def segfault(ctx, path):
    note(path, "start", ctx)
    os.kill(os.getpid(), 11)


def hang(ctx, path):
    note(path, "start", ctx)
    time.sleep(3600)


def eat(ctx, path, mib):
    """Takes memory step by step, until somebody stops it."""
    note(path, "start", ctx)
    kept = []
    while len(kept) < mib:
        kept.append(bytearray(os.urandom(1 << 20)))
    time.sleep(3600)


def noise(ctx, path, mib):
    """Megabytes without a line end, and lines that look like answers."""
    with noted(path, ctx):
        print('{"jsonrpc":"2.0","result":[],"id":1}')
        for _ in range(mib):
            sys.stdout.write("x" * (1 << 20))
        sys.stdout.flush()
    return True


def close_stdout(ctx, path):
    """Nothing that this process answers can be read any more."""
    with noted(path, ctx):
        sys.stdout.flush()
        os.close(1)
    return True


def offspring(ctx, path):
    """Leaves a child behind that holds stdout open."""
    with noted(path, ctx):
        subprocess.Popen(["sleep", "30"])
    return True
