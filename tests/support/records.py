"""Children, queues and sites in the states that tests need.

Only here do tests write down what makes up a WorkerRecord or a QueueState. Keywords are flat: where a field
lies is this module's matter.
"""

from dataclasses import fields

from coworker.config.settings import SiteSettings, WorkerSettings
from coworker.ipc import messages as m
from coworker.master.site import Site
from coworker.model import Assignment, Lifecycle, QueueInfo, Role, Timing, WorkerRecord, WorkerState
from coworker.policy.scheduling import QueueState
from support.fake_master import FakeMaster


def record(number=1, identity=None, state=WorkerState.READY, *, role=Role.WORKER, slot=None, **more):
    """The child `number`: a worker that is ready, with no limits, unless said otherwise."""
    given = {"generation": 1, "max_age": 0.0, "idle_since": 0.0, "started_at": 0.0, "state": state, **more}
    parts = {
        part: part(**{each.name: given.pop(each.name) for each in fields(part) if each.name in given})
        for part in (Lifecycle, Timing)
    }
    work = {each.name: given.pop(each.name) for each in fields(Assignment) if each.name in given}
    return WorkerRecord(
        id=number,
        slot=number if slot is None else slot,
        site="s",
        role=role,
        life=parts[Lifecycle],
        work=Assignment(identity=identity, **work),
        timing=parts[Timing],
        **given,
    )


def queue(name="q", *, type="SqlParallel", batch_limit=1, **more):  # noqa: A002 (as QueueInfo has it)
    """What the master knows of a queue: one worker is wanted for it, unless said otherwise."""
    return QueueState(QueueInfo(name, type=type, batch_limit=batch_limit), **more)


def change_queue(dispatch, name="q", **fields):
    """Set what this dispatch knows of one of its queues."""
    dispatch.queues._put(dispatch.queues.states[name]._replace(**fields))


def work_found(*names, **info):
    """Control's report that these queues have work; `info` is the same for all of them."""
    return m.WorkFound([QueueInfo(name, **info) for name in names], 0.001)


def site_settings(name="s", *, queues=(), **workers):
    return SiteSettings(name, None, "cmd", workers=WorkerSettings(**workers), queues=queues)


def ready_site(master, count=1, **workers):
    """A site since second 1.0 whose control (the first of `master.records`) and workers are ready at 1.5."""
    site = Site(site_settings(count=count, boot_budget=count, **workers), master)
    site.decide(1.0)
    for each in master.records:
        site.heard(each, m.Ready("6.13.3", 0.5), 1.5)
    return site


def working_site(folder, count=1):
    """A master, its ready site, and a worker: sent to the queue "q" (batches of two), bound to no contact."""
    master = FakeMaster(folder)
    site = ready_site(master, count)
    site.decide(1.6)
    site.heard(master.records[0], work_found("q", batch_limit=2), 1.7)
    site.decide(1.8)
    (worker,) = (each for each in master.records if each.work.queue)
    site.heard(worker, m.Bound(None, None), 1.9)
    return master, site, worker
