"""From exec to something useful: `coworker --version`, and the daemon's first task.

The reference of the one is an interpreter that does nothing, of the other a bare loop with one pipe.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support.daemon import Daemon
from support.tables import settings, site_table

from tests.benchmark.bare import BareLoops
from tests.benchmark.daemons import POLLING
from tests.benchmark.measure import Spread, alternate
from tests.benchmark.report import Chart, Report
from tests.benchmark.sites import NAME

COLUMNS = {"what": "from exec to", "ours": "coworker, ms", "reference": "reference, ms", "to": "reference"}


CHARTS = (Chart("From exec, ms", ("what",), ("ours", "reference")),)


def boot(where, repetitions, progress):
    """A report with a row for each."""
    report = Report("boot", {"repetitions": repetitions, **where.about()}, COLUMNS, charts=CHARTS)
    progress("--version")
    version = [sys.executable, "-m", "coworker", "--version"]
    pair = alternate(lambda: _command(version), lambda: _command([sys.executable, "-c", ""]), repetitions)
    report.rows.append(_row("its end (--version)", *pair, "python -c ''"))
    progress("first task")
    pair = alternate(lambda: _daemon(where), lambda: _bare(where), repetitions)
    report.rows.append(_row("the first task", *pair, "a bare loop, forked"))
    return report


def _row(what, ours, reference, to):
    return {"what": what, "ours": Spread.of(ours), "reference": Spread.of(reference), "to": to}


def _command(command):
    begun = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return 1000 * (time.monotonic() - begun)


def _daemon(where):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site = where.site(folder)
        site.fill(1)
        begun = time.monotonic()
        daemon = Daemon(folder / "daemon", settings(site_table(site.pipe, **POLLING)), wait=None)
        try:
            (first,) = site.wait(1)
            daemon.stop()
        finally:
            daemon.destroy()
    return 1000 * (first - begun)


def _bare(where):
    with tempfile.TemporaryDirectory() as name:
        site = where.site(Path(name))
        site.fill(1)
        begun = time.monotonic()
        with BareLoops(site.pipe, NAME, 1) as loops:
            loops.start()
            (first,) = site.wait(1)
            loops.cpu_seconds()
    return 1000 * (first - begun)
