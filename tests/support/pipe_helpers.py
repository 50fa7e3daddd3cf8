"""What the tests of pipe and client share: starting the fake server, and waiting on conditions."""

import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from coworker.civi.client import Client
from coworker.civi.pipe import Pipe
from coworker.unix.poller import Poller

PREFIX = "\x01token\x02"
FAKE = Path(__file__).with_name("fake_pipe.py")


def fake(*arguments):
    """The command line of the fake server."""
    return shlex.join([sys.executable, "-S", "-E", str(FAKE), *arguments])


def soon(seconds=30.0):
    return time.monotonic() + seconds


def wait_until(condition, seconds=30.0):
    deadline = soon(seconds)
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


@pytest.fixture
def poller():
    return Poller()


@pytest.fixture
def start(poller):
    """Starts pipes and sees to it that none is left."""
    pipes = []

    def start(command, **arguments):
        pipes.append(Pipe(command, cwd=None, env=os.environ, poller=poller, **arguments))
        return pipes[-1]

    yield start
    for pipe in pipes:
        pipe.kill()


@pytest.fixture
def connect(start):
    """Starts the fake server and shakes hands with it."""

    def connect(*arguments, call_timeout=30.0):
        client = Client(start("exec " + fake(*arguments)), call_timeout=call_timeout)
        client.handshake(minimum_version="5.51", deadline=soon())
        return client

    return connect
