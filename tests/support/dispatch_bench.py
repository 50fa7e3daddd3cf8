"""A site's dispatch with free workers, and no process in sight."""

from random import Random

from coworker.ipc import messages as m
from coworker.master.dispatch import Dispatch
from coworker.master.roster import Roster
from coworker.model import SYSTEM, Unsettled
from support.fake_master import FakeLog
from support.records import record, site_settings, work_found


class Bench:
    """A dispatch with `count` free workers, and the log it wrote."""

    def __init__(self, count=2, queues=(), **workers):
        log = FakeLog()
        self.lines = log.lines
        settings = site_settings(queues=queues, **workers)
        self.roster = Roster(log)
        self.dispatch = Dispatch(settings, self.roster, log, Random(1))
        self.workers = {n: record(n, SYSTEM) for n in range(1, count + 1)}

    def seen(self, *names, now=1.0, **info):
        self.dispatch.queues.look(now, free=True, control=9)
        self.dispatch.queues.work_found(work_found(*names, **info), now)

    def assign(self, *numbers, now=1.0, claim=True):
        free = [self.workers[n] for n in numbers or self.workers]
        return {w.id: order for w, order in self.dispatch.assign(free, now, claim=claim)}

    def took(self, number, claim, ids, queue="q", now=1.0, contact=None, domain=None):
        items = [[contact, domain, list(ids)]]
        report = m.Claimed(claim, queue, items, now, 0.0)
        _, own, _ = self.dispatch.claimed(self.workers[number], report, self.can_join, now)
        return own

    def lost(self, number, cause, now, noted=None, **end):
        """The worker has gone with what it had in hand; `noted`: what its pipe noted of the claims."""
        part = Unsettled([], [], cause, **end)
        self.dispatch.lost(self.workers[number], part, (noted or {}).get, now)

    @staticmethod
    def can_join():
        """There is always one more worker that could join in."""
        return True

    def settlements(self):
        pending = self.dispatch.settler.settlements.pending.values()
        return [(e.part.sent, e.part.unsent, e.part.delay) for e in pending]
