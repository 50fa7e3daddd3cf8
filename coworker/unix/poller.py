"""Waiting for file descriptors: a thin wrapper over `select.poll`.

Who is stopped (SIGSTOP, a paused container, a sleeping machine) wakes far later than it asked to be woken.
Then nothing else ran either, and nobody may be late for it: `steady` is a clock that stands still meanwhile.
"""

from __future__ import annotations

import math
import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_BROKEN = select.POLLERR | select.POLLHUP | select.POLLNVAL
_READABLE = select.POLLIN | _BROKEN
_WRITABLE = select.POLLOUT | _BROKEN
PAUSE = 1.0  # seconds: who wakes so much later than asked was stopped
_LONGEST = 2**31 - 1  # milliseconds: poll(2) takes an int


class Poller:
    """What calls back who waits for a file descriptor; it is level-triggered.

    A callback whose descriptor is at its end must unregister it, or it is called again and again.
    The descriptors must not block: a callback may be called once for nothing.
    """

    __slots__ = ("_poll", "_readers", "_writers")
    stood_still = 0.0  # seconds for which this process was stopped, as far as any of its pollers has seen

    def __init__(self) -> None:
        self._poll = select.poll()
        self._readers: dict[int, Callable[[], object]] = {}
        self._writers: dict[int, Callable[[], object]] = {}

    def register(self, fd: int, callback: Callable[[], object]) -> None:
        """Call `callback` when `fd` is readable, hung up or in error."""
        self._readers[fd] = callback
        self._update(fd)

    def register_writer(self, fd: int, callback: Callable[[], object]) -> None:
        """Call `callback` when `fd` is writable, hung up or in error."""
        self._writers[fd] = callback
        self._update(fd)

    def unregister(self, fd: int) -> None:
        """Forget `fd`, also as a writer. Unknown ones are not an error. Do it before `fd` is closed."""
        self._readers.pop(fd, None)
        self._writers.pop(fd, None)
        self._update(fd)

    def unregister_writer(self, fd: int) -> None:
        self._writers.pop(fd, None)
        self._update(fd)

    def wait(self, seconds: float | None) -> bool:
        """Poll once and run the callbacks of what is ready; return whether anything was.

        None waits for ever, 0 or less does not wait. Never returns before `seconds` for rounding.
        What a callback raises passes through; the descriptors not served then are served next time.
        """
        if seconds is None:
            ready = self._poll.poll()
        elif seconds <= 0:
            ready = self._poll.poll(0)
        else:
            asked_at = time.monotonic()
            ready = self._poll.poll(math.ceil(min(seconds * 1000, _LONGEST)))
            late = time.monotonic() - asked_at - seconds
            Poller.stood_still += late if late > PAUSE else 0.0
        for fd, events in ready:
            # An earlier callback of this round may have unregistered it: find it now.
            if events & _READABLE and (callback := self._readers.get(fd)) is not None:
                callback()
            if events & _WRITABLE and (callback := self._writers.get(fd)) is not None:
                callback()
        return bool(ready)

    def _update(self, fd: int) -> None:
        mask = (select.POLLIN if fd in self._readers else 0) | (select.POLLOUT if fd in self._writers else 0)
        if mask:
            self._poll.register(fd, mask)
            return
        try:
            self._poll.unregister(fd)
        except KeyError:
            pass


def steady() -> float:
    """Monotonic seconds, less those for which this process was stopped. For deadlines of who waits."""
    return time.monotonic() - Poller.stood_still
