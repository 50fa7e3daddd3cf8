"""HUP, a thousand times: the master's descriptors and memory of its children stay as they were."""

import signal

import psutil
from support.daemon import wait_until
from support.tables import settings, site_table

REFUSED, GOOD = 1000, 50


def test_reloads_cost_the_master_no_descriptor(site, daemon):
    site.queue("a")
    good = settings(site_table(site), count=1)
    running = daemon(good)
    running.event("ready", count=2)
    master = psutil.Process(running.pid)

    def settled():
        return len(running.titles()) == 2 and not running.events("boot_failed")

    def reload(number):
        running.send(signal.SIGHUP)
        running.event("reloaded", count=number)
        wait_until(settled, "the old ones have gone")

    reload(1)
    before = master.num_fds()
    running.configure(b"[workers]\ncount = 'many'\n")
    for number in range(1, REFUSED + 1):
        running.send(signal.SIGHUP)
        if number % 10 == 0:  # signals that wait are one
            running.event("reload_refused", count=number // 10)
    assert master.num_fds() <= before
    running.configure(good)
    for number in range(2, GOOD + 2):
        reload(number)
    wait_until(lambda: master.num_fds() <= before, f"{before} descriptors")
    ids = site.push("a", "empty", times=3)
    running.event("task_done", count=3)
    assert site.ended() == ids
    assert len(running.events("reload_refused")) >= REFUSED // 10
