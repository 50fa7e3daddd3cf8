"""The numbers of a run: what the closing table and --json show. Values in, values out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

from coworker.demo.diary import START, DiaryEntry
from coworker.demo.verdict import DemoVerdict, Tally

MIN_SPAN = 0.1  # seconds; a rate over less says nothing


@dataclass(frozen=True, slots=True)
class Line:
    """One queue, or all of them. Waits are seconds from being enqueued to being begun; None: nothing ran.

    `rate` is tasks per second from the first beginning to the last end; None where that is too short to tell.
    """

    name: str
    tally: Tally
    rate: float | None
    wait_p50: float | None
    wait_p95: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of one run. `seconds`: from the start of the daemon to the end of the last task."""

    lines: list[Line]
    total: Line
    seconds: float
    workers: int
    recycled: int
    problems: list[str]
    directory: Path | None = None  # kept, because something went wrong

    @property
    def passed(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return what --json shows. Numbers of seconds are rounded to milliseconds."""
        total = _row(self.total)
        del total["name"]
        return {
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
            "workers": self.workers,
            "recycled": self.recycled,
            **total,
            "queues": [_row(line) for line in self.lines],
            "problems": self.problems,
            "directory": None if self.directory is None else str(self.directory),
        }


def make_summary(
    verdict: DemoVerdict,
    entries: Sequence[DiaryEntry],
    *,
    names: Sequence[str],
    enqueued: Mapping[str, float],
    started: float,
    workers: int,
    recycled: int,
) -> Summary:
    """Make the summary. `names`: queues in order; `enqueued` and `started` as `DiaryEntry.at`."""
    waits = _find_waits(entries, enqueued)
    lines = []
    for name in names:
        tally = verdict.tallies.get(name, Tally())
        own = [entry.at for entry in entries if entry.queue == name]
        span = max(own) - min(own) if own else 0.0
        lines.append(_line(name, tally, span, waits.get(name, [])))
    total = Tally(*(sum(column) for column in zip(*(_counts(line.tally) for line in lines), strict=True)))
    seconds = max((entry.at for entry in entries), default=started) - started
    everything = [wait for each in waits.values() for wait in each]
    return Summary(
        lines, _line("all", total, seconds, everything), seconds, workers, recycled, list(verdict.problems)
    )


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the smallest value that so many percent of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)] if ordered else None


def _find_waits(entries: Sequence[DiaryEntry], enqueued: Mapping[str, float]) -> dict[str, list[float]]:
    waits: defaultdict[str, list[float]] = defaultdict(list)
    seen = set()
    for entry in entries:
        if entry.what == START and entry.item not in seen and entry.queue in enqueued:
            seen.add(entry.item)
            waits[entry.queue].append(entry.at - enqueued[entry.queue])
    return waits


def _line(name: str, tally: Tally, span: float, waits: Sequence[float]) -> Line:
    rate = (tally.ok + tally.failed) / span if span >= MIN_SPAN else None
    return Line(name, tally, rate, percentile(waits, 50), percentile(waits, 95))


def _counts(tally: Tally) -> tuple[int, ...]:
    return tuple(asdict(tally).values())


def _row(line: Line) -> dict[str, Any]:
    waits = {"wait_p50": line.wait_p50, "wait_p95": line.wait_p95}
    return {
        "name": line.name,
        **asdict(line.tally),
        "tasks_per_second": None if line.rate is None else round(line.rate, 1),
        **{name: None if wait is None else round(wait, 3) for name, wait in waits.items()},
    }
