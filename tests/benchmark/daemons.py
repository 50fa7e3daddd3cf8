"""The daemon under measurement, and its processes by role."""

import re
import signal
from contextlib import contextmanager
from pathlib import Path

import psutil
from support.daemon import Daemon
from support.tables import settings, site_table

OWN = ("master", "control", "workers")  # the daemon itself; pipes are the site's cost
ROLES = (*OWN, "pipes")
INTERVAL = 0.2  # seconds, the default poll_interval
POLLING = {"poll_interval": INTERVAL, "poll_interval_max": 1.0}  # the defaults
_TITLE = re.compile(r"coworker: (control|worker)\b")


@contextmanager
def running(folder, site, workers, **more):
    """A daemon with all its `workers` ready and idle; no worker leaves by itself, unless `demand` says so."""
    kept = {"max_requests": 0, "max_age": 0, "idle_timeout": 0, "boot_budget": min(workers, 8), **more}
    text = settings(site_table(site.pipe, **POLLING), count=workers, **kept)
    # support.Daemon logs at debug level: there each task is a line, which no administrator would have.
    daemon = Daemon(folder / "daemon", text, arguments=("-d", "log.level=info"), wait=None)
    try:
        daemon.event("ready", count=workers + 1, seconds=60 + 2 * workers)
        yield daemon
        if daemon.process.poll() is None:
            daemon.stop()
    finally:
        daemon.destroy()


def load(daemon, site, tasks, **more):
    """Have all tasks there before the first is claimed: the daemon is quiet from now on, until `resume`."""
    before = len(daemon.events("quiet"))
    daemon.send(signal.SIGTSTP)
    daemon.event("quiet", count=before + 1)
    site.fill(tasks, **more)


def resume(daemon):
    """From now on it claims again; it looks at once."""
    daemon.send(signal.SIGCONT)


def by_role(daemon):
    """{role: its processes}."""
    found = {role: [] for role in ROLES}
    found["master"].append(psutil.Process(daemon.pid))
    for process in found["master"][0].children(recursive=True):
        title = _TITLE.match(" ".join(process.cmdline()))
        role = "pipes" if title is None else {"worker": "workers"}.get(title[1], title[1])
        found[role].append(process)
    return found


def cpu_by_role(processes):
    """{role: seconds of CPU so far} of what `by_role` found."""
    return {role: sum(_cpu_seconds(each.pid) for each in group) for role, group in processes.items()}


def _cpu_seconds(pid):
    """From the scheduler in nanoseconds where the kernel tells; cpu_times counts in steps of 10 ms."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except (FileNotFoundError, IndexError):
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system
