"""What the daemon holds: memory and descriptors, after its workers have worked.

Private memory (USS) is what a forked child costs; the master's share (PSS) is its own pages and its part of
those that it shares with them. Pipes are the site's.
"""

import tempfile
from pathlib import Path

from tests.benchmark.daemons import by_role, load, resume, running
from tests.benchmark.measure import Spread
from tests.benchmark.report import Chart, Report
from tests.benchmark.sites import Where

MIB = 1024 * 1024
BATCH = 5
COLUMNS = {
    "workers": "workers",
    "master_pss": "master PSS, MiB",
    "master_uss": "master USS, MiB",
    "control_uss": "control USS, MiB",
    "worker_uss": "worker USS, MiB",
    "daemon_pss": "all together PSS, MiB",
    "master_fds": "master, descriptors",
    "child_fds": "child, descriptors",
}
CHARTS = (
    Chart("Private memory of a child, MiB", ("workers",), ("worker_uss", "control_uss"), target=5),
    Chart("The master's share of memory, MiB", ("workers",), ("master_pss", "master_uss"), target=20),
)


def footprint(tasks, workers, progress):
    """A report with a row for each number of workers; `tasks` for each worker are run before."""
    report = Report("footprint", {"tasks per worker": tasks, "batch_limit": BATCH}, COLUMNS, charts=CHARTS)
    for count in workers:
        progress(f"{count} workers")
        report.rows.append(_measure(tasks * count, count))
    return report


def _measure(tasks, workers):
    with tempfile.TemporaryDirectory() as name:
        site = Where(call_cost=0, boot_cost=0).site(Path(name))
        with running(Path(name), site, workers) as daemon:
            load(daemon, site, tasks, batch=BATCH)
            resume(daemon)
            site.wait(tasks)
            processes = by_role(daemon)
            (master,), (control,) = processes["master"], processes["control"]
            children = [control, *processes["workers"]]
            memory = {each.pid: each.memory_full_info() for each in (master, *children)}
            workers_uss = [memory[each.pid].uss / MIB for each in processes["workers"]]
            return {
                "workers": workers,
                "master_pss": memory[master.pid].pss / MIB,
                "master_uss": memory[master.pid].uss / MIB,
                "control_uss": memory[control.pid].uss / MIB,
                "worker_uss": Spread.of(workers_uss),
                "daemon_pss": sum(each.pss for each in memory.values()) / MIB,
                "master_fds": _descriptors(master.pid),
                "child_fds": max(_descriptors(child.pid) for child in children),
            }


def _descriptors(pid):
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
