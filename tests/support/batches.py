"""What a worker says of its batches in passing, and what it notes of them in its journal."""

from hypothesis import strategies as st

from coworker.claims.journal import Journal
from coworker.ipc import messages as m
from coworker.ipc.link import condense
from coworker.model import SYSTEM, Item, Lease, QueueInfo
from support.records import change_queue

INFO = QueueInfo("q", batch_limit=2)  # the queue of support.records.working_site
# What a worker may go through: (size, whether it ends) of each batch.
batches = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=5)


class Narrator:
    """What a worker does, as it says it and as it notes it: pairs of a report and an entry in the journal."""

    def __init__(self, record):
        self.record, self.steps, self._claims, self._items, self.now = record, [], 0, 0, 2.0

    def _step(self, report, note):
        self.steps.append((report, note))

    def batch(self, size, *, runs, ends):
        self.now += 1.0
        at = self.now
        self._step(m.Claiming("q", at), lambda j: j.claiming(INFO, at))
        if not size:
            self._step(None, Journal.gave_nothing)
            self._step(m.Idle("q", "empty"), Journal.flush)
            self._step(None, Journal.next_order)
            return
        self._claims += 1
        claim, ids = f"{self.record.id}.{self._claims}", [str(self._items + n) for n in range(size)]
        self._items += size
        items, lease, begun = [Item(each, SYSTEM) for each in ids], Lease(at + 0.1, 0.1), ids if runs else []
        took = m.Claimed(claim, "q", [[None, None, ids]], *lease)
        self._step(took, lambda j: j.claimed(claim, items, lease, begun=begun))
        if runs and ends:
            done = m.Done(claim, [["ok", ids]], 0.1)
            self._step(done, lambda j: j.ended(claim, ids))


def heard(site, record, steps, flushes=()):
    """Take the reports of these steps; those up to a place in `flushes`, or an Idle, left in one write."""
    outgoing = []
    for place, (report, _) in enumerate(steps, start=1):
        if report is not None:
            outgoing.append(report)
        if place in flushes or place == len(steps) or isinstance(report, m.Idle) or flushes == ():
            for each in condense(outgoing):
                site.heard(record, each, 5.0)
            outgoing = []
        if isinstance(report, m.Idle):  # the next order
            change_queue(site.dispatch, demand=1)
            site.decide(5.0)


def known(site, record):
    """What the master knows of the worker's claims: what is open, and the claim under way."""
    entries = {
        each: entry.begun
        for claim in site.dispatch.ledger.claims.values()
        for each, entry in claim.entries.items()
    }
    return entries, record.work.claiming
