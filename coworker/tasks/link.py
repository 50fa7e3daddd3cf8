"""Messages over a channel: the same on both ends."""

from __future__ import annotations

from collections import deque
from typing import Any

from coworker.model import RetireReason
from coworker.unix.sockets import Channel
from coworker.wire import messages
from coworker.wire.lines import LineSplitter

MESSAGE_LIMIT = 64 * 1024 * 1024  # bytes; a batch of 100,000 items is far below
SEND_PATIENCE = 5.0  # seconds that a child waits for a master that does not read


class MasterGoneError(BaseException):
    """The master's end of the socket is closed: begin nothing new and leave (design, section 3, rule 6).

    Like RetireNowError no Exception: it breaks out of whatever the child does, past its error handling.
    """


class RetireNowError(BaseException):
    """The master wants the pipe ended at once, whatever it runs."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Link:
    """Sends messages and collects those that arrived. Raises ProtocolError for a line that is none."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._lines = LineSplitter(MESSAGE_LIMIT)

    def send(self, *sent: messages.Order | messages.Report) -> None:
        """All of them in one write."""
        self.channel.send(b"".join(map(messages.encode, sent)))

    def receive(self) -> list[Any]:
        """What has arrived. `channel.closed` tells when nothing more will."""
        data = self.channel.receive()
        return [messages.decode(line) for line in self._lines.feed(data)] if data else []


class ChildLink(Link):
    """The child's end. Reports are posted and leave in one write at the next `flush`.

    `inbox` holds orders not served yet. `on_readable` is the poller's callback, also in the midst of a call.
    """

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self.inbox: deque[Any] = deque()
        self._outgoing: list[bytes] = []

    def on_readable(self) -> None:
        """Raises MasterGoneError and RetireNowError."""
        for order in self.receive():
            if isinstance(order, messages.Retire) and order.now:
                raise RetireNowError(order.reason)
            self.inbox.append(order)
        if self.channel.closed:
            raise MasterGoneError

    def retire(self, reason: RetireReason = RetireReason.SHUTDOWN) -> None:
        """As if the master had sent it; TERM does this."""
        self.inbox.append(messages.Retire(reason.value))

    def post(self, report: messages.Report) -> None:
        """Send with the next flush."""
        self._outgoing.append(messages.encode(report))

    def flush(self) -> None:
        """Send what was posted. Raises MasterGoneError when nobody is there to read it."""
        if self._outgoing:
            data = b"".join(self._outgoing)
            self._outgoing.clear()
            self.channel.send(data)
            if self.channel.pending:
                self.channel.flush_within(SEND_PATIENCE)
            if self.channel.closed or self.channel.broken:
                raise MasterGoneError

    def report(self, report: messages.Report) -> None:
        """Post and flush."""
        self.post(report)
        self.flush()
