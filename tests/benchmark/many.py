"""Many queues with one that is busy, and one queue of many rows: what a look and a decision cost.

A look is measured with one pipe and no daemon; its reference is that at a site of one queue and one row. A
decision is the master's: which queue a worker that came free works next, of so many that have work.
"""

import os
import signal
import tempfile
import time
from pathlib import Path
from random import Random

from support.records import record, work_found

from coworker.civi.client import Client
from coworker.civi.looking import Looker
from coworker.civi.pipe import Pipe
from coworker.config.settings import SiteSettings
from coworker.log import SILENCE
from coworker.master.dispatch import Dispatch
from coworker.master.roster import Roster
from coworker.model import SYSTEM
from coworker.unix.poller import Poller
from tests.benchmark.daemons import running
from tests.benchmark.latency import PAUSE, SETTLED
from tests.benchmark.measure import Spread
from tests.benchmark.report import Chart, Report

PATIENCE = 60.0  # seconds for a boot, or a call
LOOKS = 20  # in each repetition
DECISIONS = 500
LATER = "+1 day"
COLUMNS = {
    "queues": "queues",
    "rows": "rows",
    "look": "a look, ms",
    "decision": "a decision when all have work, µs",
    "start": "to start after a poke, ms",
}
CHARTS = (Chart("A look, ms", ("queues", "rows"), ("look",), target=20),)


def many(where, queues, rows, repetitions, progress):
    """A report with a row for each number of queues, and one for a queue of so many rows."""
    about = {"repetitions": repetitions, **where.about()}
    report = Report("many", about, COLUMNS, charts=CHARTS)
    for count, later in [*((count, 0) for count in queues), *((1, count) for count in rows)]:
        progress(f"{count} queues, {1 + later} rows")
        with tempfile.TemporaryDirectory() as name:
            site = where.site(Path(name))
            site.add_queues(count - 1)
            if later:
                site.fill(later, release_time=LATER)
            starts = Spread.of(_starts(Path(name), site, repetitions))
            looks = Spread.of(_looks(site, repetitions))
        decision = Spread.of(_decision(count) for _ in range(repetitions))
        report.rows.append(
            {"queues": count, "rows": 1 + later, "look": looks, "decision": decision, "start": starts}
        )
    return report


def _looks(site, repetitions):
    """Milliseconds of each look that finds one item."""
    site.fill(1)
    pipe = Pipe(site.pipe, cwd=None, env=os.environ, poller=Poller())
    try:
        client = Client(pipe, call_timeout=PATIENCE)
        client.handshake(minimum_version="5.51", deadline=time.monotonic() + PATIENCE)
        looker = Looker(client)
        looker.look()
        looks = [looker.look() for _ in range(LOOKS * repetitions)]
    finally:
        pipe.end()
    if any(len(look.queues) != 1 for look in looks):
        raise RuntimeError("a look did not find the one queue with work")
    return [1000 * look.seconds for look in looks]


def _starts(folder, site, repetitions):
    """Milliseconds from a new item, and a poke, to its start."""
    found = []
    with running(folder, site, 2) as daemon:
        for _ in range(repetitions):
            time.sleep(SETTLED)
            before = site.count()
            site.fill(1)
            begun = time.monotonic()
            daemon.send(signal.SIGUSR2)
            found.append(1000 * (site.wait(before + 1, pause=PAUSE)[-1] - begun))
    return found


def _decision(queues):
    """Microseconds of the master's CPU."""
    dispatch = Dispatch(SiteSettings("s", None, "cmd"), Roster(SILENCE), SILENCE, Random(1))
    worker = record(1, SYSTEM)
    dispatch.queues.look(1.0, free=True, control=2)
    dispatch.queues.work_found(work_found(*(f"q{n}" for n in range(queues))), 1.0)
    took = 0.0
    for _ in range(DECISIONS if queues <= 1000 else 20):
        begun = time.process_time()
        ((_, order),) = dispatch.assign([worker], 1.0, claim=True, workers=[worker])
        took += time.process_time() - begun
        dispatch.idle(worker, "slice", 1.0)  # it has more
        assert order.info.name == worker.work.last_queue
    return 1e6 * took / (DECISIONS if queues <= 1000 else 20)
