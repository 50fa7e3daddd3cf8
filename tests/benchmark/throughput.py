"""Tasks a second, and the CPU that the daemon spends on a batch.

Both sides work a queue that was filled beforehand, in a fresh store, with pipes that have booted. The rate
is that between the first task and the last one: (tasks - 1) / (last - first). So neither side pays for
noticing that there is work (the daemon up to poll_interval, a bare loop nothing: that is latency, another
measure), and both pay for everything after: the daemon also for bringing in its workers one by one, and
both for the last worker finishing alone. The bare loops run the same pipe client; nothing recycles.

CPU a batch is that of master, control and workers from the moment when the work appears to the last task,
divided by tasks / batch_limit. Pipes are the site's own cost and count for neither side.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.benchmark.bare import BareLoops
from tests.benchmark.daemons import OWN, by_role, cpu_by_role, running
from tests.benchmark.measure import Spread, alternate
from tests.benchmark.report import Report
from tests.benchmark.sites import QUEUE, BenchmarkSite

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


class Load(NamedTuple):
    """What is to be worked off. `call_cost` in milliseconds of CPU."""

    tasks: int
    batch: int
    workers: int
    call_cost: float


class Run(NamedTuple):
    """Tasks a second; milliseconds of CPU a batch, by role."""

    rate: float
    cpu: dict


def throughput(tasks, batches, workers, call_cost, repetitions, progress):
    """A report with a row for each number of workers and batch_limit."""
    about = {"tasks": tasks, "call cost (ms)": call_cost, "repetitions": repetitions}
    report = Report("throughput", about, COLUMNS)
    for batch in batches:
        for count in workers:
            load = Load(tasks, batch, count, call_cost)
            progress(f"batch_limit {batch}, {count} workers")
            pairs = alternate(
                lambda load=load: by_daemon(load), lambda load=load: by_loops(load), repetitions
            )
            report.rows.append(_row(load, *pairs))
    return report


def by_daemon(load):
    """One run of the daemon."""
    with tempfile.TemporaryDirectory() as name:
        site = BenchmarkSite(Path(name), load.call_cost)
        site.fill(load.tasks, load.batch, status="draft")
        with running(Path(name), site, load.workers) as daemon:
            processes = by_role(daemon)
            before = cpu_by_role(processes)
            site.open()
            moments = site.wait(load.tasks)
            after = cpu_by_role(processes)
    return _run(load, moments, {role: after[role] - before[role] for role in OWN})


def by_loops(load):
    """One run of the reference."""
    with tempfile.TemporaryDirectory() as name:
        site = BenchmarkSite(Path(name), load.call_cost)
        site.fill(load.tasks, load.batch)
        with BareLoops(site.pipe, QUEUE, load.workers) as loops:
            loops.start()
            moments = site.wait(load.tasks)
            cpu = loops.cpu_seconds()
    return _run(load, moments, {"loops": cpu})


def _run(load, moments, cpu):
    batches = -(-load.tasks // load.batch)
    rate = (len(moments) - 1) / (moments[-1] - moments[0])
    return Run(rate, {role: 1000 * seconds / batches for role, seconds in cpu.items()})


def _row(load, ours, reference):
    pairs = zip(ours, reference, strict=True)
    return {
        "workers": load.workers,
        "batch": load.batch,
        "daemon_rate": Spread.of(run.rate for run in ours),
        "bare_rate": Spread.of(run.rate for run in reference),
        "ratio": Spread.of(mine.rate / bare.rate for mine, bare in pairs),
        "daemon_cpu": Spread.of(sum(run.cpu.values()) for run in ours),
        **{f"{role}_cpu": Spread.of(run.cpu[role] for run in ours).median for role in OWN},
        "bare_cpu": Spread.of(run.cpu["loops"] for run in reference).median,
    }
