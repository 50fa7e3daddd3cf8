"""Tasks that only wait, on many workers. The reference is the ideal: nothing but the tasks takes time.

From the first task's start to the last one's end, so that noticing that there is work (latency, another
measure) is left out, and bringing in worker after worker is not.
"""

import tempfile
from pathlib import Path

from tests.benchmark.daemons import load, resume, running
from tests.benchmark.measure import Spread
from tests.benchmark.report import Chart, Report

COLUMNS = {
    "workers": "workers",
    "tasks": "tasks",
    "ideal": "ideal, s",
    "took": "coworker, s",
    "all_busy": "until all work, s",
    "ratio": "of ideal",
}
CHARTS = (Chart("Tasks that sleep: share of the ideal", ("workers",), ("ratio",), target=0.95),)


def parallelism(where, rounds, seconds, workers, repetitions, progress):
    """A report with a row for each number of workers; each of them has `rounds` tasks of `seconds` to run."""
    about = {"task (s)": seconds, "tasks per worker": rounds, "repetitions": repetitions, **where.about()}
    report = Report("parallelism", about, COLUMNS, charts=CHARTS)
    for count in workers:
        progress(f"{count} workers")
        found = [_measure(where, count, rounds, seconds) for _ in range(repetitions)]
        took = Spread.of(total for total, _ in found)
        ideal = rounds * seconds
        report.rows.append(
            {
                "workers": count,
                "tasks": rounds * count,
                "ideal": ideal,
                "took": took,
                "all_busy": Spread.of(busy for _, busy in found),
                "ratio": Spread(ideal / took.median, ideal / took.high, ideal / took.low),
            }
        )
    return report


def _measure(where, workers, rounds, seconds):
    """Seconds for all, and until every worker had its first."""
    with tempfile.TemporaryDirectory() as name:
        site = where.site(Path(name))
        with running(Path(name), site, workers) as daemon:
            load(daemon, site, rounds * workers, seconds=seconds)
            resume(daemon)
            moments = site.wait(rounds * workers)
    return moments[-1] + seconds - moments[0], moments[workers - 1] - moments[0]
