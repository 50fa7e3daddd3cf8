"""What is worked on: a Python site in a store of its own, with tasks that stamp."""

import time

from support.site import Site

from tests.benchmark.stamps import TASK, Stamps

QUEUE = "benchmark"
PATIENCE = 60.0  # seconds without any progress until a run counts as stuck
_LOOK = 0.02  # seconds between looks whether all tasks have run


class BenchmarkSite:
    """`call_cost` and `boot_cost` in milliseconds of CPU, as `coworker pipe` takes them."""

    def __init__(self, folder, call_cost=0.0, boot_cost=0.0):
        self._site = Site(folder / "site.db", folder / "unused")
        self.stamps = Stamps(folder / "stamps")
        self.pipe = self._site.command(f"--call-cost {call_cost:g} --boot-cost {boot_cost:g}")

    def fill(self, tasks, batch, *, status="active"):
        """Make the queue and put `tasks` into it. Status draft: nobody sees them until `open`."""
        self._site.queue(QUEUE, batch_limit=batch, status=status)
        self._site.push(QUEUE, TASK, str(self.stamps.path), times=tasks)

    def open(self):
        """From now on the tasks can be claimed."""
        service = self._site.service
        service.store.set_status(QUEUE, "active")
        service.store.close()

    def wait(self, tasks):
        """Wait until so many tasks have run; returns when each did (monotonic seconds, in order)."""
        seen, since = -1, time.monotonic()
        while (count := self.stamps.count()) < tasks:
            now = time.monotonic()
            if count > seen:
                seen, since = count, now
            elif now > since + PATIENCE:
                raise RuntimeError(f"{count} of {tasks} tasks have run, and no more for {PATIENCE:g} s")
            time.sleep(_LOOK)
        return self.stamps.moments()
