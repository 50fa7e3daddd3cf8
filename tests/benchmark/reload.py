"""HUP under load: the longest gap between two starts, beside the gaps when nothing is reloaded."""

import signal
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from tests.benchmark.daemons import load, resume, running
from tests.benchmark.measure import Spread, percentile
from tests.benchmark.report import Chart, Report

COLUMNS = {
    "workers": "workers",
    "p99": "undisturbed p99, ms",
    "calm": "undisturbed, longest, ms",
    "gap": "during HUP, longest, ms",
    "ratio": "longest during HUP to undisturbed p99",
    "took": "the reload took, s",
}
CHARTS = (
    Chart("Gaps between two starts, ms", ("workers",), ("p99", "calm", "gap")),
    Chart("The longest gap during a reload to the undisturbed p99", ("workers",), ("ratio",), target=2),
)
WARM = 1.0  # seconds from the first start on that count for nothing
MORE_BOOTS = 4  # the tasks last so many times longer than the boots one after the other would


def reload(where, seconds, calm, workers, repetitions, progress):
    """A report with a row for each number of workers; `calm`: seconds of undisturbed work before the HUP."""
    about = {"task (s)": seconds, "undisturbed (s)": calm, "repetitions": repetitions, **where.about()}
    report = Report("reload", about, COLUMNS, charts=CHARTS)
    for count in workers:
        progress(f"{count} workers")
        found = [_measure(where, count, seconds, calm) for _ in range(repetitions)]
        report.rows.append(
            {
                "workers": count,
                "p99": Spread.of(1000 * percentile(before, 0.99) for before, _, _ in found),
                "calm": Spread.of(1000 * max(before) for before, _, _ in found),
                "gap": Spread.of(1000 * max(during) for _, during, _ in found),
                "ratio": Spread.of(max(during) / percentile(before, 0.99) for before, during, _ in found),
                "took": Spread.of(took for _, _, took in found),
            }
        )
    return report


def _measure(where, workers, seconds, calm):
    """Gaps in seconds before the HUP and during it, and how long it took until all workers were replaced."""
    reloading = MORE_BOOTS * (workers + 2) * max(0.5, where.boot_cost / 1000)
    tasks = int(workers / seconds * (WARM + calm + reloading))
    with tempfile.TemporaryDirectory() as name:
        site = where.site(Path(name))
        with running(Path(name), site, workers, boot_budget=1) as daemon:  # the default
            load(daemon, site, tasks, seconds=seconds)
            resume(daemon)
            site.wait(1)
            time.sleep(WARM + calm)
            hup = time.monotonic()
            daemon.send(signal.SIGHUP)
            daemon.event("reloaded")
            daemon.event("gone", count=workers + 1, seconds=reloading + 60)  # control too
            over = time.monotonic()
            if site.count() >= tasks:
                raise RuntimeError("the work was over before the reload was")
            moments = site.moments()
    gaps = [(start, end - start) for start, end in pairwise(moments)]
    warm = moments[0] + WARM
    before = [gap for start, gap in gaps if warm <= start and start + gap < hup]
    during = [gap for start, gap in gaps if hup <= start + gap and start < over]
    return before, during, over - hup
