"""The demo itself: fill, start, watch, stop, judge, clean up."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Protocol

from coworker.demo import diary
from coworker.demo.daemon import Daemon, DemoError
from coworker.demo.daemon_log import DaemonLog, WorkerSeen
from coworker.demo.plan import QUEUES, choose_max_requests, count_runs, share_out
from coworker.demo.site import DemoSite
from coworker.demo.summary import Summary, make_summary
from coworker.demo.verdict import Facts, judge
from coworker.errors import CoworkerError

CHECK_INTERVAL = 0.1  # seconds
PATIENCE = 30.0  # seconds without any progress until we give up
BACKSTOP, BACKSTOP_PER_TASK = 60.0, 0.2  # seconds; the daemon ends by itself then, should we be no more
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):  # noqa: N818 - no error
    """Ctrl-C, or another signal that asks us to end."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"interrupted by {signal.Signals(number).name}: the daemon is stopped, nothing is left"
        )
        self.exit_code = 128 + number  # as shells say it


class DemoProgress(NamedTuple):
    """How far the demo is. `counts` and `left`: tasks by queue, made and left; `workers` by slot."""

    seconds: float
    counts: dict[str, int]
    left: dict[str, int]
    workers: dict[int, WorkerSeen]
    recycled: int

    @property
    def tasks(self) -> int:
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        return self.tasks - sum(self.left.values())


class Audience(Protocol):
    """Who watches."""

    def show(self, progress: DemoProgress) -> None:
        """Show how far it is; called some ten times a second."""

    def close(self) -> None:
        """Take leave: the demo is over, well or not."""


def play(tasks: int, workers: int, audience: Audience) -> Summary:
    """Run the demo in a temporary directory, which stays only if something went wrong.

    Raises Interrupted, or DemoError when it could not be carried through.
    """
    with _listening() as received:
        try:
            folder = Path(tempfile.mkdtemp(prefix="coworker-demo-")).resolve()
        except OSError as error:
            raise DemoError(f"no temporary directory to be had: {error}") from error
        keep = True
        try:
            summary = _Play(folder, tasks, workers, received).run(audience)
            keep = not summary.passed
        except (Interrupted, BrokenPipeError, SystemExit):  # nobody reads on: rich makes an exit of it
            keep = False
            raise
        except (CoworkerError, OSError) as error:
            raise DemoError(f"{error}\nIts store and logs are in {folder}") from error
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)
        return replace(summary, directory=folder) if keep else summary


@contextmanager
def _listening() -> Iterator[list[int]]:
    """Note signals rather than raise them, so that none can come between a process and its handle."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as nohup and background jobs want it
            signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Play:
    """One run of the demo in `folder`. `received` fills with the numbers of signals."""

    def __init__(self, folder: Path, tasks: int, workers: int, received: list[int]) -> None:
        parts = share_out(tasks, [queue.percent for queue in QUEUES])
        self.counts = {queue.name: part for queue, part in zip(QUEUES, parts, strict=True)}
        self.workers = workers
        self.site = DemoSite(folder)
        self.daemon = Daemon(
            folder,
            self.site.url,
            workers=workers,
            max_requests=choose_max_requests(count_runs(QUEUES, parts), workers),
            duration=BACKSTOP + BACKSTOP_PER_TASK * tasks,
        )
        self.log = DaemonLog(self.daemon.log)
        self._received = received
        self._last: tuple[dict[str, int], int] | None = None
        self._last_change = 0.0

    def run(self, audience: Audience) -> Summary:
        """Run from the first task to the verdict; whatever happens, the daemon is stopped."""
        self.site.fill(QUEUES, list(self.counts.values()))
        try:
            self.daemon.start()
            self._watch(audience)
        finally:
            audience.close()
            problems = self.daemon.stop(lambda: len(self._received) > 1)
        if self._received:
            raise Interrupted(self._received[0])
        return self._judge(problems)

    def _watch(self, audience: Audience) -> None:
        """Watch until no task is left."""
        while True:
            if self._received:
                raise Interrupted(self._received[0])
            self.log.read()
            left = self.site.count_left()
            now = time.monotonic()
            seconds = now - self.daemon.started
            audience.show(DemoProgress(seconds, self.counts, left, self.log.workers, self.log.recycled))
            if not left:
                return
            self._check_progress(left, now)
            time.sleep(CHECK_INTERVAL)

    def _check_progress(self, left: dict[str, int], now: float) -> None:
        tasks = sum(left.values())
        if self.daemon.exit_status is not None:
            end = self.daemon.describe_end()
            raise DemoError(f"the daemon ended ({end}) with {tasks} tasks left.{self.daemon.tail()}")
        diary_size = self.site.diary.stat().st_size if self.site.diary.exists() else 0
        if (left, diary_size) != self._last:
            self._last, self._last_change = (left, diary_size), now
        elif now > self._last_change + PATIENCE:
            raise DemoError(
                f"nothing moved for {PATIENCE:.0f} s with {tasks} tasks left.{self.daemon.tail()}"
            )

    def _judge(self, problems: list[str]) -> Summary:
        self.log.read()
        entries = diary.read(self.site.diary)
        linear = {queue.name for queue in QUEUES if queue.linear}
        verdict = judge(Facts(self.site.expected, entries, self.site.left(), self.log.outcomes, linear))
        self.site.close()
        verdict.problems.extend(problems)
        return make_summary(
            verdict,
            entries,
            names=list(self.counts),
            enqueued=self.site.enqueued,
            started=self.daemon.started,
            workers=self.workers,
            recycled=self.log.recycled,
        )
