"""Tasks that misbehave as real ones do. `folder` is where they leave word for the test."""

import os
import subprocess
import sys
import time
from pathlib import Path


def write(ctx, folder, name):
    Path(folder, name).write_text(str(os.getpid()))


def print_everywhere(ctx):
    """From Python, from the file descriptor, and from another program."""
    print("from python")
    sys.stdout.flush()
    os.write(1, b"from the descriptor\n")
    subprocess.run(["echo", "from a program"], check=True)
    print("without a line end", end="")


def read_stdin(ctx):
    return sys.stdin.read() == "" and os.read(0, 1) == b""


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


def wait_for_gate(ctx, folder):
    """Say that it runs, then wait until a writer opens the gate (a FIFO)."""
    Path(folder, "running").write_text(str(os.getpid()))
    Path(folder, "gate").read_text()


def leave(ctx, how, status):
    print("last words", flush=True)
    if how == "sys.exit":
        sys.exit(status)
    os._exit(status)


def interrupt(ctx):
    raise KeyboardInterrupt


def throw(ctx):
    raise ValueError("over\ntwo lines")
