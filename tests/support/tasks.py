"""Tasks for tests. Each appends "start ITEM QUEUE CONTACT PID" and "end …" to the journal (O_APPEND)."""

import fcntl
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path


def append(journal, *words):
    """A line of its own, whoever else writes at the same time."""
    fd = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, f"{' '.join(map(str, words))}\n".encode())
    os.close(fd)


def _write(journal, word, ctx, *more):
    append(journal, word, ctx.item_id, ctx.queue, ctx.contact or "system", os.getpid(), *more)


@contextmanager
def _journalled(journal, ctx):
    _write(journal, "start", ctx)
    yield
    _write(journal, "end", ctx)


def empty(ctx, journal):
    """Nothing."""
    with _journalled(journal, ctx):
        pass
    return True


def nap(ctx, journal, seconds):
    """Sleep."""
    with _journalled(journal, ctx):
        time.sleep(seconds)
    return True


def hold(ctx, journal, gate):
    """Run until the file `gate` exists."""
    with _journalled(journal, ctx):
        while not Path(gate).exists():
            time.sleep(0.01)
    return True


def alone(ctx, journal, folder, seconds):
    """Sleep, and write "overlap …" if the same item runs elsewhere too (a dead process holds no lock)."""
    with _journalled(journal, ctx), Path(folder, ctx.item_id).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _write(journal, "overlap", ctx)
        time.sleep(seconds)
    return True


def fail(ctx, journal):
    """Always fails."""
    with _journalled(journal, ctx):
        pass
    raise RuntimeError("as it was made to")


def fail_until(ctx, journal, tries):
    """Fails until it has been tried `tries` times."""
    with _journalled(journal, ctx):
        pass
    return ctx.run_count > tries


def leave(ctx, journal, status, text=""):
    """Ends the whole process, as PHP's exit() does."""
    _write(journal, "start", ctx)
    print(text, flush=True)
    sys.exit(status)


def crash(ctx, journal):
    """Dies by SIGSEGV."""
    _write(journal, "start", ctx)
    os.kill(os.getpid(), 11)


def shout(ctx, journal, text, size=0):
    """Prints `text`, and `size` bytes without a line end."""
    with _journalled(journal, ctx):
        print(text)
        sys.stdout.write("x" * size)
    return True


def offspring(ctx, journal, seconds):
    """Starts a child that keeps stdout open and outlives the task."""
    with _journalled(journal, ctx):
        child = subprocess.Popen(["sleep", str(seconds)])
        _write(journal, "child", ctx, child.pid)
    return True


def orphan(ctx, journal, seconds):
    """Starts a process of a session of its own whose parent dies at once: nobody's child any more."""
    with _journalled(journal, ctx):
        script = f"sleep {seconds} & echo $!"
        started = subprocess.run(["setsid", "sh", "-c", script], stdout=subprocess.PIPE, check=True)
        _write(journal, "child", ctx, int(started.stdout))
    return True


def shout_later(ctx, journal, seconds, text):
    """Leaves a child behind that prints `text` after a while."""
    with _journalled(journal, ctx):
        subprocess.Popen(["sh", "-c", f"sleep {seconds}; echo '{text}'"])
    return True


def complain_and_hold(ctx, journal, text, gate):
    """Writes `text` to standard error, then runs until the file `gate` exists."""
    print(text, file=sys.stderr, flush=True)
    return hold(ctx, journal, gate)


KEPT = []  # what `grow` leaves in the process


def grow(ctx, journal, mib, seconds):
    """Takes so much memory and keeps it, also when it has ended."""
    with _journalled(journal, ctx):
        KEPT.append(b"x" * (mib << 20))  # at once, never more
        time.sleep(seconds)
    return True


def eat(ctx, journal, mib):
    """Takes memory and does not end."""
    _write(journal, "start", ctx)
    KEPT.append(b"x" * (mib << 20))  # at once, never more
    time.sleep(600)


def feed_a_child(ctx, journal, mib):
    """Has a child take the memory."""
    _write(journal, "start", ctx)
    script = f"import time; kept = b'x' * ({mib} << 20); time.sleep(600)"
    subprocess.run([sys.executable, "-c", script], check=True)


def say_domain(ctx, journal, seconds=0.0):
    """Its lines end with the domain that it runs in."""
    _write(journal, "start", ctx, ctx.domain)
    time.sleep(seconds)
    _write(journal, "end", ctx, ctx.domain)
    return True
