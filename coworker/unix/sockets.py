"""One end of the socket pair between the master and a child."""

from __future__ import annotations

import contextlib
import select
import socket

RECEIVE_BYTES = 65_536  # malloc maps and unmaps a buffer of 128 KiB and more for each call


class Channel:
    """A non-blocking stream socket with a buffer for what the other side has not taken yet."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._unsent = bytearray()
        self.closed = False  # the other side is gone, and all it said was read
        self.broken = False  # the other side takes nothing any more

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def pending(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._unsent) and not (self.closed or self.broken)

    def send(self, data: bytes) -> None:
        """Send what the socket takes now; the rest is kept for `flush`. Nothing goes to a closed one."""
        if self._unsent:
            self._unsent += data
            self.flush()
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.broken = True
            return
        if sent < len(data):
            self._unsent += data[sent:]

    def flush(self) -> None:
        """Try again to send what is kept."""
        while self.pending:
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                return
            except OSError:
                self.broken = True
                return
            del self._unsent[:sent]

    def flush_within(self, seconds: float) -> None:
        """Wait for the other side to take what is kept, `seconds` at most for each piece."""
        while self.pending:
            if not select.select([], [self._sock], [], seconds)[1]:
                return
            self.flush()

    def receive(self) -> bytes:
        """Return what has arrived; b"" when nothing has, or when `closed` was just found out."""
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.closed = True
        return data

    def close(self) -> None:
        self.closed = True
        with contextlib.suppress(OSError):
            self._sock.close()
