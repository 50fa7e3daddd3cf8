"""Tasks a second, and the CPU that the daemon spends on a batch.

Both sides work a queue that was filled beforehand, in a fresh store, with pipes that have booted. The rate
is that between the first task and the last one: (tasks - 1) / (last - first). So neither side pays for
noticing that there is work (the daemon up to poll_interval, a bare loop nothing: that is latency, another
measure), and both pay for everything after: the daemon also for bringing in its workers one by one, and
both for the last worker finishing alone. The bare loops run the same pipe client; nothing recycles.

CPU a batch is that of master, control and workers from the moment when they may claim to the last task,
divided by tasks / batch_limit. Pipes are the site's own cost and count for neither side.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.benchmark.bare import BareLoops
from tests.benchmark.daemons import OWN, by_role, cpu_by_role, load, resume, running
from tests.benchmark.measure import Spread, alternate
from tests.benchmark.report import Chart, Report
from tests.benchmark.sites import NAME, Where

COLUMNS = {
    "workers": "workers",
    "batch": "batch_limit",
    "daemon_rate": "daemon, tasks/s",
    "bare_rate": "bare pipes, tasks/s",
    "ratio": "ratio",
    "daemon_cpu": "daemon, CPU ms/batch",
    **{f"{role}_cpu": role for role in OWN},
    "bare_cpu": "bare loops, CPU ms/batch",
}


CHARTS = (
    Chart("Throughput beside bare pipes without a daemon", ("workers", "batch"), ("ratio",), target=0.95),
    Chart("CPU for each batch, ms", ("workers", "batch"), ("daemon_cpu", "bare_cpu"), target=0.3),
)


class Load(NamedTuple):
    """What is to be worked off, and where."""

    where: Where
    tasks: int
    batch: int
    workers: int


class Run(NamedTuple):
    """Tasks a second; milliseconds of CPU a batch, by role."""

    rate: float
    cpu: dict


def throughput(where, tasks, batches, workers, repetitions, progress):
    """A report with a row for each number of workers and batch_limit."""
    about = {"tasks": tasks, "repetitions": repetitions, **where.about()}
    report = Report("throughput", about, COLUMNS, charts=CHARTS)
    for batch in batches:
        for count in workers:
            work = Load(where, round(tasks * batch**0.5), batch, count)
            progress(f"batch_limit {batch}, {count} workers")
            pairs = alternate(
                lambda work=work: by_daemon(work), lambda work=work: by_loops(work), repetitions
            )
            report.rows.append(_row(work, *pairs))
    return report


def by_daemon(work, **settings):
    """One run of the daemon."""
    with tempfile.TemporaryDirectory() as name:
        site = work.where.site(Path(name))
        with running(Path(name), site, work.workers, **settings) as daemon:
            load(daemon, site, work.tasks, batch=work.batch)
            processes = by_role(daemon)
            before = cpu_by_role(processes)
            resume(daemon)
            moments = site.wait(work.tasks)
            after = cpu_by_role(processes)
    return _run(work, moments, {role: after[role] - before[role] for role in OWN})


def by_loops(work):
    """One run of the reference."""
    with tempfile.TemporaryDirectory() as name:
        site = work.where.site(Path(name))
        site.fill(work.tasks, batch=work.batch)
        with BareLoops(site.pipe, NAME, work.workers) as loops:
            loops.start()
            moments = site.wait(work.tasks)
            cpu = loops.cpu_seconds()
    return _run(work, moments, {"loops": cpu})


def _run(work, moments, cpu):
    batches = -(-work.tasks // work.batch)
    return Run(rate(moments), {role: 1000 * seconds / batches for role, seconds in cpu.items()})


def rate(moments):
    """Tasks a second between the first and the last of them."""
    return (len(moments) - 1) / (moments[-1] - moments[0])


def _row(work, ours, reference):
    pairs = zip(ours, reference, strict=True)
    return {
        "workers": work.workers,
        "batch": work.batch,
        "daemon_rate": Spread.of(run.rate for run in ours),
        "bare_rate": Spread.of(run.rate for run in reference),
        "ratio": Spread.of(mine.rate / bare.rate for mine, bare in pairs),
        "daemon_cpu": Spread.of(sum(run.cpu.values()) for run in ours),
        **{f"{role}_cpu": Spread.of(run.cpu[role] for run in ours).median for role in OWN},
        "bare_cpu": Spread.of(run.cpu["loops"] for run in reference),
    }
