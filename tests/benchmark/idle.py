"""The CPU of a daemon that has nothing to do but to look: one active queue without items.

Control is replaced every two minutes, to see the site's settings afresh. What those that left used, with
their pipes, is known of their parent, and is a column of its own: nearly all of it is a boot of the site.
"""

import os
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
    "replaced_cpu": "replaced control and its pipe, %",
}


CHARTS = (Chart("CPU of an idle daemon, % of a core", ("workers",), ("daemon", "pipes_cpu"), target=0.5),)


def idle(where, seconds, workers, repetitions, progress):
    """A report with a row for each number of workers. Pipes are shown, but are no part of the daemon."""
    about = {"seconds": seconds, "repetitions": repetitions, **where.about()}
    report = Report("idle", about, COLUMNS, charts=CHARTS)
    for count in workers:
        progress(f"{count} workers")
        shares = _measure(where, seconds, count, repetitions)
        row = {f"{role}_cpu": Spread.of(share[role] for share in shares) for role in (*ROLES, "replaced")}
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
            time.sleep(SETTLE)
            for _ in range(repetitions):
                before, begun = _snapshot(daemon), time.monotonic()
                time.sleep(seconds)
                used, took = _used(before, _snapshot(daemon)), time.monotonic() - begun
                shares.append({role: 100 * value / took for role, value in used.items()})
    return shares


def _snapshot(daemon):
    """({process: (role, seconds of CPU)} of who is there, seconds of the children that have left)."""
    there = {
        process: (role, cpu_by_role({role: [process]})[role])
        for role, processes in by_role(daemon).items()
        for process in processes
    }
    fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return there, sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")  # cutime, cstime


def _used(before, after):
    """{role: seconds of CPU} between two snapshots; what those who left had used before is not of it."""
    used = dict.fromkeys((*ROLES, "replaced"), 0.0)
    for process, (role, seconds) in after[0].items():
        used[role] += seconds - before[0].get(process, (role, 0.0))[1]
    left = sum(seconds for process, (_, seconds) in before[0].items() if process not in after[0])
    used["replaced"] = max(0.0, after[1] - before[1] - left)
    return used
