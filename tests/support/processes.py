"""Looking at processes from outside, through /proc."""

import psutil

from support.daemon import wait_until

DEAF = """sh -c 'trap "" TERM HUP INT; "$@"; sleep 600' deaf env {command}"""


def alive(process):
    """Whether a psutil.Process still runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_gone(processes, seconds=60.0):
    """Wait until none of these runs any more."""
    wait_until(lambda: not any(map(alive, processes)), f"the end of {processes}", seconds)


def zombies(pid):
    """Dead children of a process that nobody has reaped."""
    return [p for p in psutil.Process(pid).children() if p.status() == psutil.STATUS_ZOMBIE]


def deaf(site):
    """The site's pipe command in a shell that outlives it and, like it, ignores TERM; only KILL ends both."""
    return DEAF.format(command=site.command().removeprefix("exec env "))
