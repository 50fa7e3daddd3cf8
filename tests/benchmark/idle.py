"""The CPU of a daemon that has nothing to do but to look: one active queue without items."""

import tempfile
import time
from pathlib import Path

from tests.benchmark.daemons import OWN, ROLES, by_role, cpu_by_role, running
from tests.benchmark.measure import Spread
from tests.benchmark.report import Chart, Report

SETTLE = 1.0  # seconds after the last boot
COLUMNS = {
    "workers": "workers",
    "daemon": "daemon, % of a core",
    **{f"{role}_cpu": f"{role}, %" for role in ROLES},
}


CHARTS = (Chart("CPU of an idle daemon, % of a core", ("workers",), ("daemon", "pipes_cpu"), target=0.5),)


def idle(where, seconds, workers, repetitions, progress):
    """A report with a row for each number of workers. Pipes are shown, but are no part of the daemon."""
    about = {"seconds": seconds, "repetitions": repetitions, **where.about()}
    report = Report("idle", about, COLUMNS, charts=CHARTS)
    for count in workers:
        progress(f"{count} workers")
        shares = _measure(where, seconds, count, repetitions)
        row = {f"{role}_cpu": Spread.of(share[role] for share in shares) for role in ROLES}
        daemon = Spread.of(sum(share[role] for role in OWN) for share in shares)
        report.rows.append({"workers": count, "daemon": daemon, **row})
    return report


def _measure(where, seconds, workers, repetitions):
    """[{role: percent of a core}], one for each repetition."""
    shares = []
    with tempfile.TemporaryDirectory() as name:
        site = where.site(Path(name))
        site.fill(0)
        with running(Path(name), site, workers) as daemon:
            processes = by_role(daemon)
            time.sleep(SETTLE)
            for _ in range(repetitions):
                before, begun = cpu_by_role(processes), time.monotonic()
                time.sleep(seconds)
                after, took = cpu_by_role(processes), time.monotonic() - begun
                shares.append({role: 100 * (after[role] - before[role]) / took for role in ROLES})
    return shares
