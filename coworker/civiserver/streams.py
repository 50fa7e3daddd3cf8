"""The protocol's standard input and output, kept apart from the task's.

What a task prints must never pass for an answer. With a responsePrefix it may go to the same output, before
the prefixed answer, as PHP's noise does; without one it is sent to standard error. And what a task starts
must keep neither: a child that outlives the task would keep the client waiting for the end of the file.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from types import TracebackType

_READ_SIZE = 65536


class Streams:
    """The owner of file descriptors 0 and 1 for the life of the process; and the guard in which tasks run."""

    def __init__(self) -> None:
        self._input = os.dup(0)  # private copies are not inherited by programs that tasks start
        self._output = os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.close(null)
        self.noise_allowed = False
        self.closed = False  # nobody reads our answers any more
        self._buffer = bytearray()
        os.register_at_fork(after_in_child=self._leave)

    def read_line(self, limit: int) -> bytes | None:
        """Return the next line without LF, or `limit` bytes of a longer one; None at the end of the input."""
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched, limit)
            if end >= 0:
                return self._take(end, end + 1)
            if len(self._buffer) >= limit:
                return self._take(limit, limit)
            searched = len(self._buffer)
            chunk = os.read(self._input, _READ_SIZE)
            if not chunk:
                return self._take(searched, searched) if searched else None
            self._buffer += chunk

    def write(self, data: bytes) -> None:
        """Write one answer, after what was printed before. When the client is gone it is `closed`."""
        flush_stdout()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._output, rest) :]
        except BrokenPipeError:
            self.closed = True

    def __enter__(self) -> None:
        if not self.noise_allowed:
            flush_stdout()
            os.dup2(2, 1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.noise_allowed:
            flush_stdout()
            os.dup2(self._output, 1)

    def finish(self) -> None:
        """Let nothing that cannot be written any more change the exit status."""
        flush_stdout()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)

    def _take(self, size: int, used: int) -> bytes:
        line = bytes(self._buffer[:size])
        del self._buffer[:used]
        return line

    def _leave(self) -> None:
        """Let go of both in a child that a task forked."""
        for descriptor in (self._input, self._output):
            with suppress(OSError):
                os.close(descriptor)


def flush_stdout() -> None:
    """Write what is buffered, so that it cannot appear after what is written next."""
    if sys.stdout is not None:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
