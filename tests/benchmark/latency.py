"""From enqueued to started: one task at a time into an idle system, at random moments.

The reference is poll_interval: a task that comes at a random moment waits for the next look, on the average
half of it. After a poke (SIGUSR2) nothing is waited for.
"""

import random
import signal
import tempfile
import time
from pathlib import Path

from tests.benchmark.daemons import INTERVAL, running
from tests.benchmark.measure import Spread, percentile
from tests.benchmark.report import Chart, Report

WORKERS = 2
SETTLED = 0.5  # seconds until all is idle again: after work the next look comes at once
PAUSE = 0.001  # seconds between looks whether it has started
COLUMNS = {
    "what": "found by",
    "samples": "samples",
    "p50": "p50, ms",
    "p99": "p99, ms",
    "p50_share": "p50, of poll_interval",
    "p99_share": "p99, of poll_interval",
}
CHARTS = (Chart("From enqueued to started, ms (poll_interval 200 ms)", ("what",), ("p50", "p99")),)


def latency(where, tasks, repetitions, progress):
    """A report with a row for what looks find, and one for pokes. `tasks` for each repetition."""
    about = {
        "poll_interval (s)": INTERVAL,
        "workers": WORKERS,
        "tasks": tasks,
        "repetitions": repetitions,
        **where.about(),
    }
    report = Report("latency", about, COLUMNS, charts=CHARTS)
    found = {"a look": [], "a poke": []}
    with tempfile.TemporaryDirectory() as name:
        site = where.site(Path(name))
        with running(Path(name), site, WORKERS) as daemon:
            for number in range(repetitions):
                for what, rounds in found.items():
                    progress(f"{what}, {number + 1} of {repetitions}")
                    rounds.append([_once(daemon, site, poke=what == "a poke") for _ in range(tasks)])
    for what, rounds in found.items():
        report.rows.append(_row(what, rounds))
    return report


def _once(daemon, site, *, poke):
    """Milliseconds."""
    time.sleep(SETTLED + random.uniform(0, 2 * INTERVAL))
    before = site.count()
    site.fill(1)
    begun = time.monotonic()
    if poke:
        daemon.send(signal.SIGUSR2)
    return 1000 * (site.wait(before + 1, pause=PAUSE)[-1] - begun)


def _row(what, rounds):
    p50 = Spread.of(percentile(each, 0.5) for each in rounds)
    p99 = percentile([value for each in rounds for value in each], 0.99)
    interval = 1000 * INTERVAL
    return {
        "what": what,
        "samples": sum(map(len, rounds)),
        "p50": p50,
        "p99": p99,
        "p50_share": Spread(*(value / interval for value in p50)),
        "p99_share": p99 / interval,
    }
