"""A command that speaks Civi::pipe: bytes in and out, and its end. `client` knows what they mean."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from coworker.civi.connection import never, nothing
from coworker.errors import BootError, PipeGoneError, PipeTimeoutError, ProtocolError
from coworker.model import ExitStatus
from coworker.unix.command import Command
from coworker.unix.poller import Poller, steady
from coworker.wire.lines import KIB, AnswerFramer, Tail

_READ = 64 * KIB
_TAIL = 8 * KIB
_LEADER_CHECK = 1.0  # seconds: somebody else may keep stdout open when the command is dead
_EXIT_WAIT = 0.2  # seconds that a command may take to exit after it closed its stdout


class PipeEndedError(PipeGoneError):
    """The pipe closed its output. `exit_status` is empty when it has not exited (yet)."""

    def __init__(self, message: str, exit_status: ExitStatus) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class Pipe:
    """A shell command that speaks Civi::pipe, in its own session and process group.

    stdout and stderr are read whenever somebody waits on the `poller`, so the command never blocks on
    them. One request at a time; a pipe whose request was not answered (time-out, an exception from
    another callback of the poller) refuses the next one: only `end` or `kill` are left for it.
    """

    def __init__(
        self,
        command: str,
        *,
        cwd: Path | None,
        env: Mapping[str, str],
        poller: Poller,
        name: str = "",
        adopts: bool = False,
    ) -> None:
        """Start the command. `env` is its whole environment, `name` what messages call it (or the command).

        `adopts`: this process is the subreaper of what it starts, all of which ends with a pipe that is not
        `at_rest`. Raises BootError if it cannot be started.
        """
        self.command = name or command
        try:
            self._process = Command(command, cwd=cwd, env=env)
        except (OSError, ValueError) as error:
            where = cwd or "the current directory"
            why = getattr(error, "strerror", None) or error
            raise BootError(f"cannot start {self.command!r} in {where}: {why}") from error
        self.pid, self.group = self._process.pid, self._process.group
        self._framer = AnswerFramer()
        self._stderr_tail = Tail(_TAIL)
        self._answers: deque[bytes] = deque()
        self._at_end = False  # no answer can come any more
        self._unanswered: bool | None = None  # whether its last request is; None: it had none yet
        self._adopts = adopts
        self.request_sent = False  # whether any of the last request went out
        self.on_second: Callable[[], object] = nothing  # called once a second while an answer is awaited
        self.meanwhile: Callable[[float], float] = never  # before each wait for one: see Connection
        self._closed = False  # the descriptors are no longer ours
        self._failure: str | None = None  # why it cannot be used any more
        self._next_leader_check = 0.0
        self._poller = poller
        self._own_poller = Poller()  # for waits in which nobody else's callbacks may interfere
        self._watch(self._process.stdout, self._read_stdout)
        self._watch(self._process.stderr, self._read_stderr)

    @property
    def gone(self) -> bool:
        """Whether its output has ended: it will answer nothing any more."""
        return self._at_end

    @property
    def condemned(self) -> bool:
        """Whether it is out of step: every further request is refused."""
        return self._failure is not None

    @property
    def at_rest(self) -> bool:
        """Whether it has answered all that it was asked, and waits for more: nothing of it is under way."""
        return self._unanswered is False and not self._at_end and self._failure is None

    @property
    def survives(self) -> bool:
        """Whether it was ended, and something that has left its group could not be."""
        return self._process.survives

    @property
    def exit_status(self) -> ExitStatus:
        """How the command exited, once that is known."""
        return self._process.exit_status

    @property
    def group_gone(self) -> bool:
        """Whether its process group was seen empty: only then its claims may be settled."""
        return self._process.group_gone

    @property
    def stderr_tail(self) -> str:
        """The last 8 KiB that it wrote to stderr."""
        return self._stderr_tail.peek()[0].decode(errors="replace")

    def exchange(self, request: bytes, deadline: float) -> bytes:
        """Send one line (without its newline) and return the next answer, without prefix and newline.

        `deadline` is in steady seconds (see `poller`). Raises PipeEndedError (a PipeGoneError),
        PipeTimeoutError, and ProtocolError if the pipe is out of step; what other callbacks of the poller
        raise passes through.
        """
        self.request_sent = False
        if not self._at_end:
            self._read_stdout()  # so that an answer nobody asked for is found before anything is sent
        self._refuse_leftovers()
        if self._at_end:
            raise self._ended()
        self._unanswered = True
        self._send(request + b"\n", deadline)
        answer = self._receive(deadline)
        self._unanswered = False
        return answer

    def read_line(self, deadline: float) -> bytes:
        """Return the next line that it prints by itself: the welcome. Raises what `exchange` raises."""
        return self._receive(deadline)

    def set_prefix(self, prefix: bytes) -> None:
        """From now on answers begin with `prefix`; all other output is noise, also what is unread now."""
        self._discard_answers()
        self._framer.set_prefix(prefix)

    def add_noise(self, line: bytes) -> None:
        """Count a line that turned out not to be a welcome as noise."""
        self._framer.add_noise(line)

    def take_noise(self) -> str:
        """Return what it printed besides answers since the last call: the last 8 KiB of it."""
        return text_of(*self._framer.take_noise())

    def take_stderr(self) -> str:
        """Return what it wrote to stderr since the last call: the last 8 KiB of it.

        `stderr_tail` then begins anew, so that the words of one task are not taken for another's.
        """
        if not self._closed:
            self._read_stderr()
        said, dropped = self._stderr_tail.take() if self._stderr_tail else (b"", 0)
        return text_of(said, dropped)

    def condemn(self, reason: str) -> None:
        """Refuse every further request with a ProtocolError; what is unread or half a line becomes noise."""
        self._failure = self._failure or reason
        self._discard_answers()
        self._framer.end_of_file()

    def end(self, *, patience: tuple[float, float] = (1.0, 1.0)) -> ExitStatus:
        """End it by the ladder: close stdin → wait → TERM to its group → wait → KILL.

        At the end of stdin it finishes its task and exits (contract A1). Unless it is `at_rest`, what has
        left its group is ended as well. `patience`: how long to wait for the end of all that after each of
        the first two, in seconds. Returns once nothing of it runs, at the latest 5 s after the KILL: then
        `group_gone` is false, or it `survives`. Other callbacks of the poller are not run meanwhile. Once
        ended, it only returns the exit status again.
        """
        if not self._closed:
            self._process.end(self._own_poller, patience, everything=self._adopts and not self.at_rest)
            self._close()
        return self.exit_status

    def kill(self) -> ExitStatus:
        """KILL it at once, and wait as `end` does. May be called again if that was not enough."""
        self._process.kill(self._own_poller, everything=self._adopts and not self.at_rest)
        self._close()
        return self.exit_status

    def _refuse_leftovers(self) -> None:
        """Raise ProtocolError unless every request before had exactly one answer."""
        if self._answers:
            self.condemn("the pipe sent an answer that nobody asked for")
        if self._unanswered:
            self.condemn("the pipe has not answered an earlier request")
        if self._failure is not None:
            raise ProtocolError(self._failure)

    def _send(self, data: bytes, deadline: float) -> None:
        unsent = memoryview(data)
        while True:
            try:
                unsent = unsent[os.write(self._process.stdin, unsent) :]
                self.request_sent = True
            except BlockingIOError:
                pass
            except BrokenPipeError as error:
                raise self._ended() from error
            if not unsent:
                return
            # What it prints is read while we wait, or both sides might wait for ever.
            self._poller.register_writer(self._process.stdin, nothing)
            try:
                self._wait(deadline)
            finally:
                self._poller.unregister_writer(self._process.stdin)

    def _receive(self, deadline: float) -> bytes:
        while not self._answers:
            self._wait(deadline)
        return self._answers.popleft()

    def _wait(self, deadline: float) -> None:
        """Wait until something happens; raise when no answer can come any more."""
        if self._failure is not None:
            raise ProtocolError(self._failure)
        if self._at_end:
            raise self._ended()
        now = steady()
        if now >= deadline:
            raise PipeTimeoutError
        if now >= self._next_leader_check:
            self._next_leader_check = now + _LEADER_CHECK
            if self._process.reap():
                self._read_last_words()
                return
            self.on_second()
        soon = self.meanwhile(time.monotonic()) - time.monotonic()
        self._poller.wait(min(min(deadline, self._next_leader_check) - now, soon))

    def _ended(self) -> PipeEndedError:
        """Describe the end of the command, after a moment for it to exit."""
        exited = self._process.wait_for_exit(self._own_poller, _EXIT_WAIT)
        if not self._closed:
            self._read_stderr()
        how = str(self.exit_status) if exited else "it still runs"
        return PipeEndedError(f"the pipe closed its output ({how})", self.exit_status)

    def _read_stdout(self) -> bool:
        """Read once, and tell whether there was something."""
        data = _read(self._process.stdout)
        if data is None:
            return False
        if not data:
            self._forget(self._process.stdout)
            self._reach_end()
            return False
        try:
            answers = self._framer.feed(data)
        except ProtocolError as error:
            self.condemn(str(error))
        else:
            self._answers.extend(answers)
        return True

    def _read_stderr(self) -> None:
        data = _read(self._process.stderr)
        if data:
            self._stderr_tail.add(data)
        elif data == b"":
            self._forget(self._process.stderr)

    def _read_last_words(self) -> None:
        """Read what a dead command left in its stdout, and no more: a child of it may go on printing."""
        for _ in range(16):  # 1 MiB: what a pipe can take
            if not self._read_stdout():
                break
        self._reach_end()

    def _discard_answers(self) -> None:
        """Count answers that nobody asked for as noise."""
        while self._answers:
            self._framer.add_noise(self._answers.popleft())

    def _reach_end(self) -> None:
        self._at_end = True
        self._framer.end_of_file()

    def _watch(self, fd: int, callback: Callable[[], object]) -> None:
        self._poller.register(fd, callback)
        self._own_poller.register(fd, callback)

    def _forget(self, fd: int) -> None:
        self._poller.unregister(fd)
        self._own_poller.unregister(fd)

    def _close(self) -> None:
        if self._closed:
            return
        self._read_last_words()
        self._discard_answers()
        self._read_stderr()
        self._forget(self._process.stdout)
        self._forget(self._process.stderr)
        self._process.close()
        self._closed = True


def _read(fd: int) -> bytes | None:
    """Read once: None when there is nothing now, b"" at the end."""
    try:
        return os.read(fd, _READ)
    except BlockingIOError:
        return None


def text_of(kept: bytes, dropped: int) -> str:
    """The text in the last bytes of an output, of which so many were dropped before."""
    text = kept.decode(errors="replace")
    return f"[{dropped} bytes dropped]\n{text}" if dropped else text
