"""Cutting streams of bytes into lines, and answers from noise; no input or output here.

Every piece that arrives is searched once, so a long line in many pieces costs linear time.
"""

from __future__ import annotations

from coworker.errors import ProtocolError

KIB = 1024
MIB = 1024 * KIB


class LineSplitter:
    """What cuts a stream into lines of at most `limit` bytes, without their newline."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read and return the lines that it completes.

        Raises ProtocolError for a line above the limit: the stream cannot be used any more.
        """
        lines = data.split(b"\n")
        if len(lines) > 1:
            lines[0] = b"".join([*self._pieces, lines[0]])
            self._pieces.clear()
            self._size = 0
        rest = lines.pop()
        if rest:
            self._pieces.append(rest)
            self._size += len(rest)
        if self._size > self._limit or any(len(line) > self._limit for line in lines):
            raise ProtocolError(f"a line is longer than {self._limit} bytes")
        return lines


class Tail:
    """The last `limit` bytes of a stream, and how many before them were dropped."""

    __slots__ = ("_bytes", "_dropped", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = bytearray()
        self._dropped = 0

    def __bool__(self) -> bool:
        return bool(self._bytes)

    def add(self, data: bytes) -> None:
        kept = data[-self._limit :] if len(data) > self._limit else data
        self._bytes += kept
        self._dropped += len(data) - len(kept)
        if len(self._bytes) > 2 * self._limit:  # not at every byte above: that would be quadratic
            self._trim()

    def take(self) -> tuple[bytes, int]:
        """Return the tail and the number of bytes dropped before it, and begin anew."""
        kept, dropped = self.peek()
        self._bytes.clear()
        self._dropped = 0
        return kept, dropped

    def peek(self) -> tuple[bytes, int]:
        self._trim()
        return bytes(self._bytes), self._dropped

    def _trim(self) -> None:
        surplus = len(self._bytes) - self._limit
        if surplus > 0:
            del self._bytes[:surplus]
            self._dropped += surplus


class AnswerFramer:
    """What tells a pipe's answers from what tasks print: an answer is `prefix`, bytes, newline (contract A1).

    Everything before a prefix is noise, whatever it is; its last `noise_limit` bytes are kept.
    With an empty prefix (until `set_prefix`) every line is an answer.
    """

    def __init__(
        self, prefix: bytes = b"", *, max_answer: int = 64 * MIB, noise_limit: int = 8 * KIB
    ) -> None:
        self._prefix = prefix
        self._max_answer = max_answer
        self._noise = Tail(noise_limit)
        self._inside = False  # after a prefix, before its newline
        self._pieces: list[bytes] = []  # of the unfinished answer
        self._size = 0
        self._carry = b""  # what may be the first part of a prefix

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read and return the answers that it completes.

        Raises ProtocolError for an answer above `max_answer` bytes; what was kept of it becomes noise.
        """
        if self._carry:
            data = self._carry + data
            self._carry = b""
        answers: list[bytes] = []
        position = 0
        while position < len(data):
            if not self._inside:
                position = self._skip_noise(data, position)
                continue
            newline = data.find(b"\n", position)
            if newline < 0:
                self._keep(data[position:])
                break
            self._keep(data[position:newline])
            answers.append(self._release())
            position = newline + 1
        return answers

    def set_prefix(self, prefix: bytes) -> None:
        """Expect `prefix` from now on, also in the unfinished line."""
        rest = self._release() if self._inside else self._carry
        self._carry = b""
        self._prefix = prefix
        self.feed(rest)  # an unfinished line has no newline, so no answer can come of it

    def end_of_file(self) -> None:
        """Count what will never be whole as noise."""
        if self._inside:
            self._noise.add(self._release())
        self._noise.add(self._carry)
        self._carry = b""

    def add_noise(self, data: bytes) -> None:
        """Count a line that turned out not to be an answer as noise."""
        self._noise.add(data + b"\n")

    def take_noise(self) -> tuple[bytes, int]:
        """Return the kept noise and how many bytes before it were dropped, and begin anew."""
        return self._noise.take() if self._noise else (b"", 0)

    def _skip_noise(self, data: bytes, position: int) -> int:
        """Go on behind the next prefix, or to the end of `data` when there is none."""
        found = data.find(self._prefix, position)
        if found < 0:
            end = self._possible_prefix(data, position)
            self._noise.add(data[position:end])
            self._carry = data[end:]
            return len(data)
        if found > position:
            self._noise.add(data[position:found])
        self._inside = True
        return found + len(self._prefix)

    def _possible_prefix(self, data: bytes, position: int) -> int:
        """Return where the end of `data` may be the first part of a prefix; its length when nowhere."""
        start = max(position, len(data) - len(self._prefix) + 1)
        while (start := data.find(self._prefix[:1], start)) >= 0:
            if self._prefix.startswith(data[start:]):
                return start
            start += 1
        return len(data)

    def _keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._max_answer:
            self._noise.add(self._release())
            raise ProtocolError(f"an answer is longer than {self._max_answer} bytes")

    def _release(self) -> bytes:
        """Leave the unfinished answer, and return it."""
        answer = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self._inside = False
        return answer
