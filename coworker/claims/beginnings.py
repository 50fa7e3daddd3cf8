"""What a pipe notes of the tasks that it begins, in a file beside its worker's journal (rule 4).

MINIPIPE and the Python site write a line before each task is called, and one when it is over, straight to the
end of the file. So it says what has happened, whatever ended the pipe:

 opened AT          by the pipe, when it starts: without this line the file says nothing
 sent CLAIM         by the worker, before each runItems: what follows is of this claim
 begun ID AT        by the pipe, before the task is called
 ended ID SECONDS   by the pipe, when the task has returned or raised

AT is in monotonic seconds, which all processes of a machine have in common.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

NOTES = ".begun"  # what the name of such a file ends with; the rest is its journal's
VARIABLE = "COWORKER_BEGUN"  # names the file in the environment of a pipe
CANNOT_NOTE = 15  # the exit status of a pipe that could not note a beginning; minipipe.php has the same
CUT = 8192  # bytes from which on what is over is dropped
_CHUNK = 65_536


class Beginning(NamedTuple):
    """A task that was called at `at` (monotonic seconds); `seconds`: how long it took, None: it goes on."""

    id: str
    at: float
    seconds: float | None = None

    @property
    def moved_at(self) -> float:
        """When something was last noted of it (monotonic seconds)."""
        return self.at + (self.seconds or 0.0)


def beginnings_file(directory: Path, pid: int, child: int) -> Path:
    """The path of the file of a child's pipe."""
    return directory / f"{pid}-{child}{NOTES}"


class Beginnings:
    """What a file says now, claim by claim. It says nothing if it is gone, or was not opened by its pipe."""

    def __init__(self, path: Path | None) -> None:
        """Read the file; None: there is none."""
        self._claims: dict[str, list[str]] = {}  # claim → its lines
        if path is None:
            return
        try:
            # Behind the last newline there may be a torn line: who wrote it called no task.
            first, *lines = path.read_bytes().decode(errors="replace").split("\n")[:-1]
        except (OSError, ValueError):
            return
        if not first.startswith("opened "):
            return
        of_claim: list[str] = []
        for line in lines:
            if line.startswith("sent "):
                of_claim = self._claims.setdefault(line[5:], [])
            else:
                of_claim.append(line)

    def of(self, claim: str) -> list[Beginning] | None:
        """The tasks of this claim that were begun, in order; None if nobody can say."""
        lines = self._claims.get(claim)
        return None if lines is None else read_lines(lines)

    def begun(self, claim: str) -> list[str] | None:
        """The ids of the tasks of this claim that were begun, in order; None if nobody can say."""
        found = self.of(claim)
        return None if found is None else [each.id for each in found]


def read_lines(lines: Iterable[str]) -> list[Beginning]:
    """The tasks that these lines tell of, in order. What is no such line is left out."""
    found: dict[str, Beginning] = {}
    for line in lines:
        word, _, rest = line.partition(" ")
        item, _, number = rest.partition(" ")
        with suppress(ValueError, KeyError):
            if word == "begun":
                found[item] = Beginning(item, float(number))
            elif word == "ended":
                found[item] = found[item]._replace(seconds=float(number))
    return list(found.values())


def read_seconds(lines: Iterable[str]) -> dict[str, float]:
    """How long each task took that is over, by the id of its item: of all that lines tell, in least time."""
    ended = [line.split(" ") for line in lines if line.startswith("ended ")]
    try:
        return {item: float(seconds) for _, item, seconds in ended}
    except ValueError:
        return {}


class Notes:
    """The worker's side: it makes the file for its pipe, and says in it which claim is sent.

    A file that cannot be made or trusted is left empty: then it says nothing, to anybody.
    """

    def __init__(self, path: Path | None) -> None:
        """Make the file; None: the pipe is none that writes one."""
        self.path = path
        self.usable = False  # whether the pipe writes to it
        self._made_at = time.monotonic()
        self._head = self._size = 0  # bytes: the first line, and all that was written or read so far
        if path is not None:
            try:
                path.unlink(missing_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                self._fd = os.open(path, flags, 0o600)
            except OSError:
                self.path = None

    def opened(self) -> None:
        """See whether the pipe has opened the file, with a clock that is ours; it has said hello by now."""
        if self.path is None:
            return
        first, newline, _ = os.pread(self._fd, _CHUNK, 0).partition(b"\n")
        word, _, at = first.decode(errors="replace").partition(" ")
        with suppress(ValueError):
            self.usable = word == "opened" and self._made_at <= float(at) <= time.monotonic()
        self._head = self._size = len(first + newline)
        if not self.usable:
            self._distrust()

    def sent(self, claim: str) -> None:
        """Note that items of this claim are about to be sent. What was sent before is over."""
        if not self.usable:
            return
        line = f"sent {claim}\n".encode()
        try:
            if self._size > CUT:
                os.ftruncate(self._fd, self._head)
            written = os.write(self._fd, line)
            self._size = os.fstat(self._fd).st_size  # nobody else writes now
        except OSError:
            written = 0
        if written < len(line):
            self._distrust()

    def batch(self, *, ran: bool) -> list[str] | None:
        """The lines since `sent`; None if nobody can say. `ran`: some task ran for certain."""
        if not self.usable:
            return None
        said = data = os.pread(self._fd, _CHUNK, self._size)
        while len(data) == _CHUNK:
            data = os.pread(self._fd, _CHUNK, self._size + len(said))
            said += data
        self._size += len(said)
        if ran and b"begun " not in said:  # somebody took our listener away, or the file
            self._distrust()
            return None
        return said.decode(errors="replace").split("\n")

    def _distrust(self) -> None:
        self.usable = False
        with suppress(OSError):
            os.ftruncate(self._fd, 0)


class TaskNotes:
    """The pipe's side, for the Python site; minipipe.php has the same for PHP."""

    def __init__(self, path: str) -> None:
        """Open the file that the worker made. Raises OSError."""
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._torn = False  # a line was not written whole: what follows would not be understood
        self._write(f"opened {time.monotonic():.6f}\n")

    def begun(self, item: int) -> float:
        """Note that this task is about to be called. Returns when (monotonic seconds), for `ended`.

        Raises OSError if that cannot be written: then the task must not be called.
        """
        now = time.monotonic()
        self._write(f"begun {item} {now:.6f}\n")
        return now

    def ended(self, item: int, begun_at: float) -> None:
        """Note that it is over."""
        with suppress(OSError):
            self._write(f"ended {item} {time.monotonic() - begun_at:.6f}\n")

    def _write(self, line: str) -> None:
        data = line.encode()
        whole = not self._torn and os.write(self._fd, data) == len(data)
        self._torn = not whole
        if not whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
