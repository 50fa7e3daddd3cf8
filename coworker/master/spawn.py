"""Forking a child. Forked, not exec'ed: it shares the master's pages."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable

from coworker.unix.signals import SignalInbox, blocked, for_child
from coworker.unix.sockets import Channel

MASTER_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGCHLD,
)
CHILD_SIGNALS = (signal.SIGTERM,)  # "retire"; the rest of the master's signals are not for children


def fork_child(body: Callable[[Channel, SignalInbox], None]) -> tuple[int, Channel]:
    """Fork a child that runs `body` and exits. Returns (pid, the master's end of its socket).

    Raises OSError when there is no process or descriptor to be had.
    """
    ours, theirs = socket.socketpair()
    try:
        with blocked(MASTER_SIGNALS):
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if pid == 0:
                _in_child(body, theirs)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return pid, Channel(ours)


def _in_child(body: Callable[[Channel, SignalInbox], None], sock: socket.socket) -> None:
    """Never returns. Nothing of the master's is cleaned up here: it is the master's."""
    status = 1
    try:
        # The descriptors of the master and of the other children: a lock or a socket held here would
        # outlive the master.
        keep = sock.fileno()
        os.closerange(3, keep)
        os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.close(null)
        signals = for_child(MASTER_SIGNALS, CHILD_SIGNALS)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        body(Channel(sock), signals)
        status = 0
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(status)
