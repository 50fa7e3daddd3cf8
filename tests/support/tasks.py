"""Every task that tests put into queues, as "support.tasks:NAME"; pipes find it with tests/ on PYTHONPATH.

Journalled tasks append "start ITEM QUEUE CONTACT PID" and "end …" to the journal (O_APPEND) that is their
first argument. In a daemon of the chaos program, which has CHAOS_DAEMON in its environment, that is
"start ITEM QUEUE TRY PID DAEMON TIME". Plain tasks write no journal; the tests that run tasks in their own
process read `seen`, others give a `folder`, where tasks leave word for them.
tests/php_site/civicrm/tasks.php has the same by the same names, as far as a PHP site needs them.
"""

import fcntl
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

START = os.getcwd()  # noqa: PTH109 - without links: the release that this process was started in

# --- journalled ---


def append(journal, *words):
    """A line of its own, whoever else writes at the same time."""
    fd = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, f"{' '.join(map(str, words))}\n".encode())
    os.close(fd)


def _write(journal, word, ctx, *more):
    daemon = os.environ.get("CHAOS_DAEMON")
    if daemon is None:
        fields = (ctx.contact or "system", os.getpid())
    else:
        fields = (ctx.run_count, os.getpid(), daemon, f"{time.time():.4f}")
    append(journal, word, ctx.item_id, ctx.queue, *fields, *more)


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
        script = f"sleep {seconds} >/dev/null 2>&1 & echo $!"
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


def gorge(ctx, journal, mib):
    """Takes memory step by step, until somebody stops it."""
    _write(journal, "start", ctx)
    kept = []
    while len(kept) < mib:
        kept.append(bytearray(os.urandom(1 << 20)))
    time.sleep(3600)


def noise(ctx, journal, mib):
    """Prints a line that looks like an answer, and megabytes without a line end."""
    with _journalled(journal, ctx):
        print('{"jsonrpc":"2.0","result":[],"id":1}')
        for _ in range(mib):
            sys.stdout.write("x" * (1 << 20))
        sys.stdout.flush()
    return True


def close_stdout(ctx, journal):
    """Nothing that this process answers can be read any more."""
    with _journalled(journal, ctx):
        sys.stdout.flush()
        os.close(1)
    return True


RELEASED = "version.txt"  # in the directory where a pipe of a release starts


def released(ctx, journal, seconds):
    """Sleep. Its lines end with the release that it ran of, whose files it needs, as an autoloader does."""
    version = Path(START, RELEASED).read_text()
    _write(journal, "start", ctx, version)
    time.sleep(seconds)
    _write(journal, "end", ctx, version)
    return True


# --- plain: what they return or raise ---


def succeed(ctx):
    return True


def throw(ctx, text="boom"):
    raise ValueError(text)


def mistake(ctx):
    return 1 + "1"


def say_false(ctx):
    return False


def interrupt(ctx):
    raise KeyboardInterrupt


def exit_with(ctx, status=3, text="", how="sys.exit"):
    """Print the text, then end the whole process."""
    print(text, end="", flush=True)
    if how == "sys.exit":
        sys.exit(status)
    os._exit(status)


not_callable = 5


# --- plain: what they were called with ---

seen = []


def note(ctx, *arguments):
    seen.append((ctx, arguments))


class Kept:
    @staticmethod
    def deep(ctx):
        seen.append((ctx, ("deep",)))


# --- plain: what they do to standard streams ---


def say(ctx, text):
    sys.stdout.write(text)


def print_everywhere(ctx):
    """From Python, from the file descriptor, and from another program."""
    print("from python")
    sys.stdout.flush()
    os.write(1, b"from the descriptor\n")
    subprocess.run(["echo", "from a program"], check=True)
    print("without a line end", end="")


def read_stdin(ctx):
    return sys.stdin.read() == "" and os.read(0, 1) == b""


# --- plain: processes, and word left in a folder ---


def write(ctx, folder, name):
    Path(folder, name).write_text(str(os.getpid()))


def wait_for_gate(ctx, folder):
    """Say that it runs, then wait until a writer opens the gate (a FIFO)."""
    Path(folder, "running").write_text(str(os.getpid()))
    Path(folder, "gate").read_text()


def start_program(ctx, folder):
    """A program that outlives the task and the pipe, with every descriptor that it may inherit."""
    child = subprocess.Popen(
        ["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False
    )
    Path(folder, "child").write_text(str(child.pid))


def fork_child(ctx, folder):
    """A child without a program of its own that outlives the task and the pipe."""
    pid = os.fork()
    if pid == 0:
        os.close(1)
        os.close(2)
        time.sleep(60)
        os._exit(0)
    Path(folder, "child").write_text(str(pid))


def fork_and_return(ctx, path):
    """The child comes back from the task; only the parent may settle it."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        Path(path).write_text(str(os.waitstatus_to_exitcode(status)))
