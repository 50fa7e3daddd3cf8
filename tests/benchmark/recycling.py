"""What it costs to replace workers. The reference is a daemon that replaces none."""

import tempfile
from pathlib import Path

from tests.benchmark.daemons import load, resume, running
from tests.benchmark.measure import Spread, alternate
from tests.benchmark.report import Chart, Report
from tests.benchmark.throughput import rate

COLUMNS = {
    "max_requests": "max_requests",
    "tasks": "tasks",
    "rate": "tasks/s",
    "kept_rate": "without, tasks/s",
    "ratio": "ratio",
}
CHARTS = (Chart("Throughput with recycling, beside without", ("max_requests",), ("ratio",), target=0.9),)


def recycling(where, lives, seconds, workers, limits, repetitions, progress):
    """A report with a row for each of `limits`; each worker has tasks for `lives` of its lives."""
    about = {"task (s)": seconds, "workers": workers, "repetitions": repetitions, **where.about()}
    report = Report("recycling", about, COLUMNS, charts=CHARTS)
    for limit in limits:
        tasks = max(limit * lives, 200) * workers
        progress(f"max_requests {limit}")
        ours, kept = alternate(
            lambda limit=limit, tasks=tasks: _rate(where, workers, tasks, seconds, limit),
            lambda tasks=tasks: _rate(where, workers, tasks, seconds, 0),
            repetitions,
        )
        report.rows.append(
            {
                "max_requests": limit,
                "tasks": tasks,
                "rate": Spread.of(ours),
                "kept_rate": Spread.of(kept),
                "ratio": Spread.of(mine / other for mine, other in zip(ours, kept, strict=True)),
            }
        )
    return report


def _rate(where, workers, tasks, seconds, max_requests):
    with tempfile.TemporaryDirectory() as name:
        site = where.site(Path(name))
        with running(Path(name), site, workers, max_requests=max_requests, boot_budget=1) as daemon:
            load(daemon, site, tasks, seconds=seconds)
            resume(daemon)
            return rate(site.wait(tasks))
