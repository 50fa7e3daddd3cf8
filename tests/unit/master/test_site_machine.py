"""Any schedule of deaths, reports and signals: no illegal move, never too many, no claim forgotten.

The real site with its staff, dispatch, ledger and settler; children are modelled, as good as their protocol.
"""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.fake_master import FakeMaster
from support.records import site_settings

from coworker.ipc import messages as m
from coworker.ipc.packing import unpack
from coworker.master.ledger import Place
from coworker.master.site import Site
from coworker.model import ExitStatus, MasterPhase, QueueInfo, Role, WorkerState

QUEUES = [QueueInfo("a", batch_limit=2), QueueInfo("b", batch_limit=3), QueueInfo("line", type="Sql")]
QUEUES += [QueueInfo("user_job_1", type="Sql"), QueueInfo("user_job_2", batch_limit=2)]
BUDGET = 2


class Child:
    """What a child would do: orders wait in its inbox; `holds` are items it was told of and has not ended."""

    def __init__(self, record):
        self.record = record
        self.inbox = []
        self.claim = None  # (name, queue, ids) that it runs
        self.claiming = None


class MasterOfChildren(FakeMaster):
    """Its children hear what they are sent while they live."""

    def __init__(self, claims):
        super().__init__(claims)
        self.children = {}

    def spawn(self, record, settings, sink):
        self.children[record.id] = Child(record)
        return super().spawn(record, settings, sink)

    def send(self, record, order):
        super().send(record, order)
        if isinstance(order, m.Work | m.Run):
            assert record.life.generation >= self.site.staff.oldest, "old code gets no order"
        if record.id in self.children:
            self.children[record.id].inbox.append(order)


class Life(RuleBasedStateMachine):
    @initialize(count=st.integers(1, 4), limit=st.sampled_from([0, 1]))
    def start(self, count, limit):
        self.folder = Path(tempfile.mkdtemp())
        self.master = MasterOfChildren(self.folder)
        settings = site_settings(count=count, boot_budget=BUDGET, max_requests=5, max_per_identity=limit)
        self.site = self.master.site = Site(settings, self.master)
        self.now, self.items, self.claims = 10.0, 0, 0
        self.open = set()  # ids that were claimed and have no end
        self.decide()

    def teardown(self):
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def decide(self):
        self.master.timers.run(self.now)
        self.site.decide(self.now)

    def report(self, child, *reports):
        for each in reports:
            self.site.heard(child.record, each, self.now)

    def pick(self, data, wanted):
        found = [child for child in self.master.children.values() if wanted(child)]
        return data.draw(st.sampled_from(found)) if found else None

    # --- what may happen ---

    @rule(seconds=st.sampled_from([0.01, 0.3, 2.0, 6.0, 40.0]))
    def time_passes(self, seconds):
        self.now += seconds
        self.decide()

    @rule(data=st.data(), fails=st.booleans())
    def one_has_booted(self, data, fails):
        child = self.pick(data, lambda c: c.record.life.state is WorkerState.BOOTING)
        if child is None:
            return
        self.boot(child, fails)
        self.decide()

    def boot(self, child, fails):
        if fails:
            self.report(child, m.BootFailed("no luck"))
        else:
            control = child.record.role is Role.CONTROL
            self.report(child, m.Ready("6.13.3", 0.2, gives_back=True if control else None, domain=1))

    @rule(data=st.data(), contact=st.sampled_from([None, 100, 200]))
    def everybody_goes_on(self, data, contact):
        self.now += 0.05
        for child in list(self.master.children.values()):
            if child.record.life.state is WorkerState.BOOTING:
                self.boot(child, fails=False)
            elif child.record.role is Role.CONTROL:
                self.answer(child, fails=False)
            else:
                self.step(child, data, contact)
            self.decide()

    @rule(data=st.data(), contact=st.sampled_from([None, 100, 200]))
    def a_worker_does_its_next_step(self, data, contact):
        child = self.pick(data, lambda c: c.record.role is Role.WORKER and (c.inbox or c.claim or c.claiming))
        if child is not None and child.record.life.state is not WorkerState.BOOTING:
            self.step(child, data, contact)
            self.decide()

    def step(self, child, data, contact):
        if m.Flush() in child.inbox:  # heard in the midst of a call
            child.inbox.remove(m.Flush())
            self.report(child, m.Flushed())
        elif child.claim is not None:
            self.end_batch(child)
        elif child.claiming is not None:
            self.take_batch(child, data, contact)
        elif child.inbox:
            self.serve(child)

    def serve(self, child):
        order = child.inbox.pop(0)
        if isinstance(order, m.Work):
            child.claiming = order
            self.report(child, m.Claiming(order.info.name, self.now))
        elif isinstance(order, m.Run):
            ids = [item.id for item in unpack(order.items)]
            contact, domain, _ = order.items[0]
            if child.record.work.identity is None:
                self.report(child, m.Bound(contact, domain))
            child.claim = order.claim, order.info.name, ids, "ran"
            self.report(child, m.RunSent(order.claim, ids))
        elif isinstance(order, m.Retire):
            self.report(child, m.Bye(order.reason, "exit status 0"))
            self.die(child, 0)

    def take_batch(self, child, data, contact):
        order, child.claiming = child.claiming, None
        info = next(queue for queue in QUEUES if queue.name == order.info.name)
        count = data.draw(st.integers(0, info.batch_limit))
        if not count:
            self.report(child, m.Idle(order.info.name, "empty"))
            return
        self.claims += 1
        items = []
        for _ in range(count):
            self.items += 1
            who = contact if data.draw(st.booleans()) else None
            items.append([str(self.items), who, None if who is None else 1])
        name = f"{child.record.id}.{self.claims}"
        self.open.update(item_id for item_id, *_ in items)
        packed = [[who, domain, [each]] for each, who, domain in items]
        self.report(child, m.Claimed(name, order.info.name, packed, self.now, 0.001))
        bound = child.record.work.identity
        own = [i for i in items if order.bind or i[1] is None] if bound is None else items
        me = (own[0][1] if own else -1) if bound is None else bound.contact
        mine = [item_id for item_id, who, _ in items if who == me]
        rest = [item_id for item_id, who, _ in items if who != me]
        if rest:
            self.report(child, m.HandedOff(name, rest))
        if not mine:
            self.report(child, m.Idle(order.info.name, "handed"))
            return
        if bound is None:
            self.report(child, m.Bound(me, None if me is None else 1), m.RunSent(name, mine))
        child.claim = name, order.info.name, mine, "handed" if rest else "slice"

    def end_batch(self, child):
        name, queue, ids, why = child.claim
        child.claim = None
        self.open.difference_update(ids)
        self.report(child, m.Done(name, [["ok", ids]], 0.1), m.Idle(queue, why))

    @rule(data=st.data(), fails=st.booleans())
    def control_answers(self, data, fails):
        child = self.pick(data, lambda c: c.record.role is Role.CONTROL and c.inbox)
        if child is not None:
            self.answer(child, fails)
            self.decide()

    def answer(self, child, fails):
        if not child.inbox:
            return
        order = child.inbox.pop(0)
        if isinstance(order, m.Look):
            seen = [queue for queue in QUEUES if queue.name not in order.skip]
            self.report(child, m.WorkFound(seen, 0.001))
        elif isinstance(order, m.Retire):
            self.report(child, m.Bye(order.reason, "exit status 0"))
            self.die(child, 0)
        elif isinstance(order, m.Inspect):
            self.report(
                child,
                m.InspectFailed(order.claim, "x") if fails else m.Inspected(order.claim, order.ids, 0.0, 0.0),
            )
        elif fails:
            self.report(child, m.SettleFailed(order.ref, "x", final=False))
        else:
            ids = [*order.part.ids] if isinstance(order, m.Settle) else []
            self.open.difference_update(ids)
            fate = "try_counted" if ids and isinstance(order, m.Settle) and order.part.sent else "given_back"
            self.report(child, m.Settled(order.ref, [[item_id, fate, ""] for item_id in ids]))

    @rule(data=st.data())
    def a_new_release_comes(self, data):
        child = self.pick(data, lambda c: c.record.life.state in (WorkerState.READY, WorkerState.BUSY))
        if child is not None:
            self.report(child, m.CodeMoved("/current"))
            self.decide()

    @rule(digest=st.sampled_from(["one", "two"]))
    def files_of_the_code_change(self, digest):
        control = self.site.roster.control()
        if control is not None and control.life.state is not WorkerState.BOOTING:
            state = m.SiteState("Production", False, "6.13.3", "6.13.3", digest, "")
            self.site.heard(control, state, self.now)
            self.decide()

    @rule(data=st.data(), signal=st.sampled_from([9, 11, 0]))
    def one_dies(self, data, signal):
        child = self.pick(data, lambda _child: True)
        if child is not None:
            self.die(child, signal)
            self.decide()

    def die(self, child, signal):
        del self.master.children[child.record.id]
        self.site.ended(child.record, ExitStatus(signal=signal) if signal else ExitStatus(code=0), self.now)

    @precondition(lambda self: self.site.phase in (MasterPhase.RUNNING, MasterPhase.QUIET))
    @rule(what=st.sampled_from(["quiet", "on", "reload", "more", "fewer"]))
    def a_signal_comes(self, what):
        if what == "quiet":
            self.site.resume(MasterPhase.QUIET)
        elif what == "on":
            self.site.resume(MasterPhase.RUNNING)
        elif what == "reload":
            self.site.adopt(self.site.settings, self.site.phase)
        else:
            self.site.staff.change_count(1 if what == "more" else -1)
        self.decide()

    @precondition(lambda self: self.items > 5)
    @rule(phase=st.sampled_from([MasterPhase.STOPPING, MasterPhase.HALTING]))
    def it_has_to_stop(self, phase):
        halting = self.site.phase is MasterPhase.HALTING  # there is no way back from that
        self.site.stop(MasterPhase.HALTING if halting else phase, self.now)
        self.decide()

    # --- what always holds ---

    @invariant()
    def there_are_never_too_many(self):
        if hasattr(self, "site"):
            booting = [r for r in self.site.roster.workers() if r.life.state is WorkerState.BOOTING]
            assert len(booting) <= BUDGET

    @invariant()
    def imports_never_run_side_by_side(self):
        if hasattr(self, "site"):
            queues = [record.work.queue for record in self.site.roster.workers()]
            assert sum(queue in ("user_job_1", "user_job_2") for queue in queues) <= 1

    @invariant()
    def no_claim_is_forgotten(self):
        if not hasattr(self, "site"):
            return
        entries = [(i, e) for c in self.site.dispatch.ledger.claims.values() for i, e in c.entries.items()]
        assert self.open <= {item_id for item_id, _ in entries}
        asked = {
            item_id for entry in self.site.dispatch.settler.settlements.of_claims() for item_id in entry.ids
        }
        assert asked == {item_id for item_id, entry in entries if entry.place is Place.SETTLING}
        waiting = {item_id for group in self.site.dispatch.handoff.groups for item_id in group.ids}
        assert waiting == {item_id for item_id, entry in entries if entry.place is Place.HANDED}
        if not self.site.pipe_groups.groups:
            holders = {entry.worker for _, entry in entries if entry.place is Place.AT_WORKER}
            assert all(self.site.roster.get(worker) is not None for worker in holders)


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=60)
test_whatever_happens_to_its_children_a_site_keeps_its_books = Life.TestCase
