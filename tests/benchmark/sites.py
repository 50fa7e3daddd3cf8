"""What is worked on: a Python site with tasks that stamp, or any site that is given as three commands."""

import subprocess
import time
from dataclasses import dataclass

from support.site import Site

from coworker.civiserver.fields import QUEUE
from tests.benchmark.stamps import TASK, Stamps

NAME = "benchmark"
PATIENCE = 120.0  # seconds without any progress until a run counts as stuck
_LOOK = 0.02  # seconds between looks whether all tasks have run
_AT_ONCE = 1000  # queues made in one statement


class Progress:
    """Waits for tasks; `count()` says how many were begun."""

    def wait(self, tasks, *, pause=_LOOK):
        """Wait until so many tasks were begun; returns when each was (monotonic seconds, in order)."""
        seen, since = -1, time.monotonic()
        while (count := self.count()) < tasks:
            now = time.monotonic()
            if count > seen:
                seen, since = count, now
            elif now > since + PATIENCE:
                raise RuntimeError(f"{count} of {tasks} tasks have run, and no more for {PATIENCE:g} s")
            time.sleep(pause)
        return self.moments()


class PythonSite(Progress):
    """In a store of its own. `call_cost` and `boot_cost` in milliseconds of CPU, as for `coworker pipe`."""

    def __init__(self, folder, call_cost=0.0, boot_cost=0.0):
        self._site = Site(folder / "site.db", folder / "unused")
        self._stamps = Stamps(folder / "stamps")
        self.count, self.moments = self._stamps.count, self._stamps.moments
        self.pipe = self._site.command(f"--call-cost {call_cost:g} --boot-cost {boot_cost:g}")
        self._queues = set()

    def fill(self, tasks, *, batch=1, seconds=0.0, queue=NAME, release_time=None):
        """Put tasks that sleep so long into a queue, which is made if need be."""
        if queue not in self._queues:
            self._queues.add(queue)
            self._site.queue(queue, batch_limit=batch)
        arguments = (str(self._stamps.path), seconds) if seconds else (str(self._stamps.path),)
        self._site.push(queue, TASK, *arguments, times=tasks, release_time=release_time)

    def add_queues(self, count):
        """Make so many active queues that are empty."""
        service = self._site.service
        common = {"type": "SqlParallel", "runner": "task", "error": "delete", "status": "active"}
        names = [f"{NAME}-{n}" for n in range(count)]
        for start in range(0, count, _AT_ONCE):
            service.insert(QUEUE, [{**common, "name": name} for name in names[start : start + _AT_ONCE]])
        service.site.close()


class AnySite(Progress):
    """A live site. Its tasks leave no stamps: when they ran is told by how many are left, so it is coarse."""

    def __init__(self, pipe, fill, count):
        self.pipe, self._fill, self._count = pipe, fill, count
        self._samples = []  # (monotonic seconds, items gone so far)
        self._filled = 0

    def fill(self, tasks, *, batch=1, seconds=0.0, queue=NAME, release_time=None):
        if release_time is not None:
            raise RuntimeError("items for later can only be put into the Python site")
        if not self._filled and (left := self._left()):
            raise RuntimeError(f"the queue {NAME} has {left} items: empty it first")
        words = {"queue": queue, "n": tasks, "batch": batch, "seconds": f"{seconds:g}"}
        _run(self._fill, words)
        self._filled += tasks

    def add_queues(self, count):
        for n in range(count):
            _run(self._fill, {"queue": f"{NAME}-{n}", "n": 0, "batch": 1, "seconds": "0"})

    def count(self):
        gone = self._filled - self._left()
        self._samples.append((time.monotonic(), gone))
        return gone

    def wait(self, tasks, *, pause=_LOOK):
        self._samples.append((time.monotonic(), self._samples[-1][1] if self._samples else 0))
        return super().wait(tasks, pause=pause)

    def moments(self):
        """Between two samples the tasks are taken to have ended evenly."""
        found, (before, known) = [], (0.0, 0)
        for at, gone in self._samples:
            new = gone - known
            found += [before + (at - before) * (n + 1) / new for n in range(new)]
            before, known = at, gone
        return found

    def _left(self):
        said = _run(self._count, {"queue": NAME})
        try:
            return int(said.split()[-1])
        except (ValueError, IndexError):
            raise RuntimeError(f"{self._count!r} says {said!r}, which ends in no number") from None


def _run(command, words):
    for name, value in words.items():
        command = command.replace(f"{{{name}}}", str(value))
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command!r} failed ({done.returncode}): {done.stderr.strip()[-500:]}")
    return done.stdout


@dataclass(frozen=True)
class Where:
    """Which site is measured: the Python one unless `pipe`, `fill` and `count` are given."""

    call_cost: float = 1.0
    boot_cost: float = 700.0
    pipe: str | None = None
    fill: str | None = None
    count: str | None = None

    def site(self, folder):
        """One to work on; the Python one is new."""
        if self.pipe is None:
            return PythonSite(folder, self.call_cost, self.boot_cost)
        return AnySite(self.pipe, self.fill, self.count)

    def about(self):
        """What a report says of it."""
        if self.pipe is None:
            return {"call cost (ms)": self.call_cost, "boot cost (ms)": self.boot_cost}
        return {"pipe": self.pipe}
