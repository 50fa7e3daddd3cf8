"""The reference: N pipes, each in a process with a bare loop of claim and run. No daemon."""

import multiprocessing
import os
import time

from coworker.civi import queues
from coworker.civi.client import Client
from coworker.civi.pipe import Pipe
from coworker.unix.poller import Poller

_FORK = multiprocessing.get_context("fork")
_PATIENCE = 60.0  # seconds for a boot, or for one call


class BareLoops:
    """A context: on entry every loop has booted its pipe, on exit all are gone.

    They use the same pipe client as the daemon's workers, so what is missing to a ratio of 1 is what the
    daemon adds: the master, the reports to it, the looking, the assigning.
    """

    def __init__(self, command, queue, count):
        self._pairs = [_FORK.Pipe() for _ in range(count)]
        self._processes = [
            _FORK.Process(target=_loop, args=(command, queue, theirs), daemon=True)
            for _, theirs in self._pairs
        ]

    def __enter__(self):
        for process in self._processes:
            process.start()
        for ours, theirs in self._pairs:
            theirs.close()
            _receive(ours)
        return self

    def __exit__(self, *_error):
        for ours, _ in self._pairs:
            ours.close()
        for process in self._processes:
            process.join()

    def start(self):
        """Let all loops go."""
        for ours, _ in self._pairs:
            ours.send(None)

    def cpu_seconds(self):
        """Wait until each loop has found the queue empty; the CPU time they used together, without the
        pipes'.
        """
        return sum(_receive(ours) for ours, _ in self._pairs)


def _receive(connection):
    if not connection.poll(_PATIENCE):
        raise RuntimeError("a bare loop does not answer")
    return connection.recv()


def _loop(command, queue, connection):
    pipe = Pipe(command, cwd=None, env=os.environ, poller=Poller())
    client = Client(pipe, call_timeout=_PATIENCE)
    try:
        client.handshake(minimum_version="5.51", deadline=time.monotonic() + _PATIENCE)
        connection.send(None)
        connection.recv()
        begun = time.process_time()
        while items := queues.claim(client, queue):
            queues.run(client, queue, [item.id for item in items])
        connection.send(time.process_time() - begun)
    finally:
        pipe.end()
