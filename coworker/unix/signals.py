"""Signals as things to read: a handler only notes the number, a descriptor wakes the loop.

Since PEP 475 a wait is resumed after a handler, so the loop would sleep on without the descriptor.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from types import FrameType


class SignalInbox:
    """What collects `numbers` until they are taken, in order; none is lost when the descriptor is full."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._pending: deque[int] = deque()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        for number in numbers:
            signal.signal(number, self._note)
        # A full socket already wakes the loop: nothing to warn about.
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._pending.append(number)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._reader.fileno()

    def take(self) -> list[int]:
        """Return the signals since the last call, oldest first."""
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass
        taken = []
        while self._pending:
            taken.append(self._pending.popleft())
        return taken


def has_terminal() -> bool:
    """Whether this process has a controlling terminal; not any more once that was closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def unblock_all() -> None:
    """Let every signal through, also those that whoever started us had blocked. Handlers must be there."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@contextlib.contextmanager
def blocked(numbers: Iterable[int]) -> Iterator[None]:
    """Block these signals, as around a fork, where the child must not run the parent's handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, set(numbers))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def for_child(all_numbers: Iterable[int], caught: Iterable[int]) -> SignalInbox:
    """Catch `caught` after a fork, ignore the rest of the master's signals, and set CHLD to its default."""
    signal.set_wakeup_fd(-1)
    for number in all_numbers:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.SIG_IGN)
    return SignalInbox(caught)
