"""Whether the daemon's own processes grow: their private memory before and after many tasks."""

import tempfile
from pathlib import Path

from tests.benchmark.daemons import OWN, by_role, load, resume, running
from tests.benchmark.report import Chart, Report
from tests.benchmark.sites import Where

BATCH = 20
WORKERS = 2
PARTS = 10
MIB = 1024 * 1024
COLUMNS = {
    "tasks": "tasks",
    **{f"{role}_uss": f"{role} USS, MiB" for role in OWN},
    "pss": "all together PSS, MiB",
}
CHARTS = (Chart("Private memory as tasks go by, MiB", ("tasks",), tuple(f"{role}_uss" for role in OWN)),)


def growth(tasks, progress):
    """A report with a row for each tenth of the tasks. Of workers the largest."""
    report = Report("growth", {"workers": WORKERS, "batch_limit": BATCH}, COLUMNS, charts=CHARTS)
    where = Where(call_cost=0, boot_cost=0)
    with tempfile.TemporaryDirectory() as name:
        site = where.site(Path(name))
        with running(Path(name), site, WORKERS) as daemon:
            for part in range(1, PARTS + 1):
                progress(f"{part * tasks // PARTS} of {tasks}")
                load(daemon, site, tasks // PARTS, batch=BATCH)
                resume(daemon)
                site.wait(part * (tasks // PARTS))
                report.rows.append({"tasks": part * (tasks // PARTS), **_memory(daemon)})
    return report


def _memory(daemon):
    processes = by_role(daemon)
    held = {role: [each.memory_full_info() for each in processes[role]] for role in OWN}
    row = {f"{role}_uss": max(info.uss for info in infos) / MIB for role, infos in held.items()}
    return {**row, "pss": sum(info.pss for infos in held.values() for info in infos) / MIB}
