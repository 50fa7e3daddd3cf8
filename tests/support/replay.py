"""Plays a recorded session against a live pipe and compares every line."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from coworker.civiserver.service import QueueService
from coworker.civiserver.site_store import open_site
from support.transcript import HEAD, Kind, RecordedRow, Step, parse_rows

TESTS = Path(__file__).parents[1]
PATIENCE = 10.0  # seconds for an answer
TOLERANCE = 3  # seconds between a claim and the look at its row
SHORT = 60  # seconds: a delay below this is one that the recording waited out

# What differs from run to run, in both texts: times of the day and durations.
VARIABLE = [
    (re.compile(r'"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"'), '"TIME"'),
    (re.compile(r'"\d{14}"'), '"TIME"'),
    (re.compile(r'"loop_duration":"\d+\.\d{3}"'), '"loop_duration":"SECONDS"'),
]


class MismatchError(AssertionError):
    """The pipe did something else than the recording."""


class Player:
    """One session. `actions` says what each note did to the site; `uncompared` are lines that may differ.

    A note without an action is an error: nothing of a transcript is passed over in silence.
    """

    def __init__(
        self,
        folder: Path,
        version: str,
        actions: dict[str, Callable[[QueueService], object] | None],
        after: dict[str, Callable[[QueueService], object]],
        variable: list[tuple[re.Pattern[str], str]],
        uncompared: set[str],
    ) -> None:
        self.file = folder / "queue.db"
        self._url = f"sqlite:///{self.file}"
        self.service = QueueService(open_site(self._url))
        self._version = version
        self._actions = actions
        self._after = after
        self._variable = VARIABLE + variable
        self._uncompared = uncompared
        self._queue = ""
        self._last = ""
        self._pipe: subprocess.Popen[bytes] | None = None
        self._output = b""
        self.compared = 0
        self.excused: list[str] = []

    def play(self, steps: list[Step]) -> None:
        """Raises MismatchError at the first line that differs."""
        try:
            for step in steps:
                self._play(step)
            if self._pipe is not None:
                raise MismatchError("the transcript ends and the pipe lives")
        finally:
            if self._pipe is not None:
                self._pipe.kill()
                self._pipe.wait()

    def _play(self, step: Step) -> None:
        handlers: dict[Kind, Callable[[Step], None]] = {
            Kind.START: self._start,
            Kind.NOTE: self._act,
            Kind.SEND: self._send,
            Kind.RECEIVE: self._receive,
            Kind.ROWS: self._check_rows,
            Kind.CLOSE: self._close,
            Kind.END: self._end,
        }
        handlers[step.kind](step)

    def _start(self, step: Step) -> None:
        command = [sys.executable, "-m", "coworker", "pipe", "--store", self._url]
        path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
        self._pipe = subprocess.Popen(
            [*command, "--as-version", self._version, step.text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._output = b""

    def _act(self, step: Step) -> None:
        if step.text not in self._actions:
            raise MismatchError(f"line {step.number}: no action for the note {step.text!r}")
        action = self._actions[step.text]
        if action is not None:
            action(self.service)

    def _send(self, step: Step) -> None:
        queue = re.search(r'"queue(?:_name)?"(?::|,"=",)"([^"]+)"', step.text)
        self._queue = queue[1] if queue else self._queue
        self._last = step.text
        self._process.stdin.write(step.text.encode() + b"\n")
        self._process.stdin.flush()

    def _receive(self, step: Step) -> None:
        actual = self._read_line()
        if step.text in self._uncompared:
            self.excused.append(step.text)
        elif self._normal(actual) != self._normal(step.text):
            raise MismatchError(f"line {step.number}: expected\n  {step.text!r}\ngot\n  {actual!r}")
        else:
            self.compared += 1
        action = self._after.get(self._last)
        if action is not None:
            action(self.service)

    def _check_rows(self, step: Step) -> None:
        recorded = parse_rows(step.text)
        now = self.service.store.now()
        rows = self.service.store.file.rows(
            "SELECT id, release_time, run_count FROM civicrm_queue_item WHERE queue_name = ? ORDER BY id",
            [self._queue],
        )
        actual = [
            RecordedRow(row_id, None if release is None else release - now, run_count)
            for row_id, release, run_count in rows
        ]
        if len(actual) != len(recorded) or not all(map(_same_row, actual, recorded)):
            raise MismatchError(f"line {step.number}: expected the rows {recorded} got {actual}")
        self.compared += 1
        waited = [row.id for row in recorded if row.seconds is not None and row.seconds < SHORT]
        for row_id in waited:  # the recording waited; here the row is made as old as if we had
            self.service.store.release(self._queue, row_id, now - SHORT)

    def _close(self, step: Step) -> None:
        self._process.stdin.close()
        self._end(step)

    def _end(self, step: Step) -> None:
        rest = self._read_until_end()
        status = self._process.wait(PATIENCE)
        self._process.stdin.close()
        self._process.stdout.close()
        self._pipe = None
        if rest or status != int(step.text):
            raise MismatchError(f"line {step.number}: got {rest!r} and exit status {status}")
        self.compared += 1

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        if self._pipe is None:
            raise MismatchError("no pipe was started")
        return self._pipe

    def _normal(self, text: str) -> str:
        for pattern, replacement in self._variable:
            text = pattern.sub(replacement, text)
        return text

    def _read_line(self) -> str:
        while b"\n" not in self._output:
            if not self._read_more():
                raise MismatchError(f"the pipe ended after {self._output!r}")
        line, self._output = self._output.split(b"\n", 1)
        return line.decode()

    def _read_until_end(self) -> bytes:
        while self._read_more():
            pass
        return self._output

    def _read_more(self) -> bool:
        deadline = time.monotonic() + PATIENCE
        ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise MismatchError("the pipe does not answer")
        chunk = os.read(self._process.stdout.fileno(), 65536)
        self._output += chunk
        return bool(chunk)


def _same_row(actual: RecordedRow, recorded: RecordedRow) -> bool:
    if (actual.id, actual.run_count) != (recorded.id, recorded.run_count):
        return False
    if actual.seconds is None or recorded.seconds is None:
        return actual.seconds is recorded.seconds
    return abs(actual.seconds - recorded.seconds) <= TOLERANCE


__all__ = ["HEAD", "MismatchError", "Player"]
