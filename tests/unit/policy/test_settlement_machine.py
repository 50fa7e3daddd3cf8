"""Settlement against a model of CiviCRM's rows, with somebody else at work between any two steps.

The model's premises are CiviCRM's and ours:
- an item is free when its release_time is NULL or before this whole second of the site's clock;
- an update selects by its where and writes by id later: whatever happens in between is overwritten;
- runItems fetches its items first, then runs them in order; the next begins as the one before ends;
- a pipe is killed before its leases end, and settled after it is dead;
- a settlement writes within LEASE_MARGIN seconds of its read, or is cut off and begun anew;
- retry_interval outlasts a claim and CLOCK_SLACK (what happens otherwise is a test of its own, below).
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coworker.model import QueueInfo, Unsettled
from coworker.policy.settlement import CLOCK_SLACK, LEASE_MARGIN, Fate, LeaseAge, OpenClaim, RowSeen, settle

SLOWEST_CLAIM = 3.0  # seconds
SOON = st.sampled_from([0.0, 0.25, 0.75, 1.0])
WHILE = st.sampled_from([0.25, 1.0, 2.5, 4.0, 9.75, 12.0, 30.0, 600.0])


@dataclass
class Row:
    """`holder` is the claim that leased it last. `forfeited`: tries of claims that were settled too late."""

    run_count: int = 0
    release: int | None = None
    holder: object = None
    begun: int = 0
    forfeited: int = 0


@dataclass(eq=False)
class Claim:
    """`todo` is what its pipe has fetched and not ended; the first of it runs."""

    ids: list
    ends: int  # of its lease, in the site's clock
    answered_at: float
    seconds: float
    sent: bool = False
    dead: bool = False
    stopped_by_us: bool = False
    todo: list = field(default_factory=list)
    read_at: float | None = None  # when its settlement read the rows
    seen: dict = field(default_factory=dict)
    verdicts: list = field(default_factory=list)
    selected: bool = False  # the update of the first verdict has matched, and is not written yet


def open_claim(claim, now, lease_time, retry_interval):
    """What the product is told of a claim."""
    sent, unsent = (claim.ids, []) if claim.sent else ([], claim.ids)
    return OpenClaim(
        QueueInfo("q", lease_time=lease_time, retry_interval=retry_interval),
        Unsettled(sent, unsent, stopped_by_us=claim.stopped_by_us),
        [LeaseAge(now - claim.answered_at, claim.seconds)],
    )


class Settlement(RuleBasedStateMachine):
    """Any number of daemons on one queue: every claim is somebody else's to all others."""

    def __init__(self):
        super().__init__()
        self.now = 1000.0
        self.rows = {}
        self.claims = []

    @initialize(
        items=st.integers(1, 5),
        batch_limit=st.integers(1, 4),
        lease_time=st.sampled_from([1, 5, 12, 14, 25, 600]),
        retry_interval=st.sampled_from([6, 13, 600]),
        retry_limit=st.sampled_from([0, 1, 4]),
        fraction=SOON,
    )
    def queue(self, items, batch_limit, lease_time, retry_interval, retry_limit, fraction):
        assert retry_interval > SLOWEST_CLAIM + CLOCK_SLACK
        self.rows = {str(number): Row() for number in range(1, items + 1)}
        self.batch_limit, self.lease_time = batch_limit, lease_time
        self.retry_interval, self.retry_limit = retry_interval, retry_limit
        self.now += fraction

    def running(self):
        return [claim for claim in self.claims if claim.todo and not claim.dead]

    def dead(self):
        return [claim for claim in self.claims if claim.dead]

    def pick(self, data, claims):
        return claims[data.draw(st.integers(0, len(claims) - 1), label="claim")]

    def pass_time(self, seconds):
        """Nobody works past a lease, and no settlement writes what it read long ago."""
        self.now += seconds
        for claim in self.claims:
            if not claim.dead and self.now >= claim.ends:
                claim.dead, claim.todo = True, []
            if claim.read_at is not None and self.now > claim.read_at + LEASE_MARGIN:
                claim.read_at, claim.verdicts, claim.selected = None, [], False

    # --- a daemon works ---

    @precondition(lambda self: len(self.claims) < 3)
    @rule(before=SOON, after=st.sampled_from([0.0, 0.25, 2.0]))
    def claim(self, before, after):
        self.pass_time(before)
        second = int(self.now)
        free = [i for i, row in self.rows.items() if row.release is None or row.release < second]
        taken, ends = free[: self.batch_limit], second + self.lease_time
        for item in taken:
            row = self.rows[item]
            row.forfeited += sum(item in claim.ids and row.holder is claim for claim in self.claims)
            row.run_count, row.release = row.run_count + 1, ends
        claim = Claim(taken, ends, self.now + after, before + after)
        for item in taken:
            self.rows[item].holder = claim
        if taken:
            self.claims.append(claim)
        self.pass_time(after)

    @precondition(lambda self: any(not claim.sent and not claim.dead for claim in self.claims))
    @rule(data=st.data())
    def run(self, data):
        claim = self.pick(data, [c for c in self.claims if not c.sent and not c.dead])
        claim.sent = True
        claim.todo = [item for item in claim.ids if item in self.rows]
        self.begin_next(claim)

    def begin_next(self, claim):
        """What is exhausted is deleted unrun; with nothing left the answer comes, and the claim is over."""
        while claim.todo and self.rows[claim.todo[0]].run_count > 1 + self.retry_limit:
            del self.rows[claim.todo.pop(0)]
        if not claim.todo:
            self.claims.remove(claim)
            return
        item = claim.todo[0]
        others = [c for c in self.running() if c is not claim and c.todo[0] == item]
        assert not others, f"item {item} is run by two at once"
        self.rows[item].begun += 1

    @precondition(lambda self: self.running())
    @rule(data=st.data(), fails=st.booleans(), unheard=st.booleans())
    def end_task(self, data, fails, unheard):
        claim = self.pick(data, self.running())
        item = claim.todo.pop(0)
        row = self.rows[item]
        if fails and row.run_count < self.retry_limit + 1:
            row.release, row.holder = int(self.now) + self.retry_interval, None
        else:
            del self.rows[item]
        if unheard and not claim.todo:
            claim.dead = True
        else:
            self.begin_next(claim)

    @precondition(lambda self: any(not claim.dead for claim in self.claims))
    @rule(data=st.data(), stopped_by_us=st.booleans())
    def pipe_dies(self, data, stopped_by_us):
        claim = self.pick(data, [c for c in self.claims if not c.dead])
        claim.dead, claim.stopped_by_us, claim.todo = True, stopped_by_us, []

    @rule(seconds=WHILE)
    def time_passes(self, seconds):
        self.pass_time(seconds)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), off=st.sampled_from([-11.5, -3.0, -0.5, 1.0]))
    def a_lease_is_about_to_end_or_has_just_ended(self, data, off):
        self.pass_time(max(0.0, self.pick(data, self.claims).ends + off - self.now))

    # --- control settles, step by step ---

    @precondition(lambda self: any(claim.read_at is None for claim in self.dead()))
    @rule(data=st.data())
    def read(self, data):
        claim = self.pick(data, [c for c in self.dead() if c.read_at is None])
        claim.seen = {i: (self.rows[i].run_count, self.rows[i].release) for i in claim.ids if i in self.rows}
        rows = [
            RowSeen(item, run_count, None if release is None else float(release - int(self.now)))
            for item, (run_count, release) in claim.seen.items()
        ]
        verdicts = settle(rows, open_claim(claim, self.now, self.lease_time, self.retry_interval))
        assert sorted(v.id for v in verdicts) == sorted(claim.ids), "each item has one fate"
        claim.verdicts = sorted(verdicts, key=lambda verdict: verdict.fate is Fate.TRY_COUNTED)
        claim.read_at = self.now

    @precondition(lambda self: any(claim.read_at is not None for claim in self.dead()))
    @rule(data=st.data())
    def settle_one_step(self, data):
        """Select what the next update is for, or write it."""
        claim = self.pick(data, [c for c in self.dead() if c.read_at is not None])
        while claim.verdicts and not claim.verdicts[0].write:
            claim.verdicts.pop(0)
        if not claim.verdicts:
            self.claims.remove(claim)
            return
        verdict = claim.verdicts[0]
        row = self.rows.get(verdict.id)
        if not claim.selected:
            claim.selected = row is not None and (row.run_count, row.release) == claim.seen[verdict.id]
            if not claim.selected:
                claim.verdicts.pop(0)
            return
        claim.selected = False
        claim.verdicts.pop(0)
        if row is not None:
            self.write(claim, verdict, row)

    def write(self, claim, verdict, row):
        if "release_time" in verdict.write:
            assert row.holder is claim, f"item {verdict.id} is freed, but somebody else has claimed it since"
            row.release = None if verdict.release is None else int(self.now) + verdict.release
            row.holder = None
        if "run_count" in verdict.write:
            row.run_count = verdict.run_count
            if row.holder is claim:
                row.holder = None  # its try is restored already; only the lease is left to end

    @precondition(lambda self: any(claim.read_at is not None for claim in self.dead()))
    @rule(data=st.data())
    def control_dies(self, data):
        claim = self.pick(data, [c for c in self.dead() if c.read_at is not None])
        claim.read_at, claim.verdicts, claim.selected = None, [], False

    # --- what must hold ---

    @invariant()
    def what_was_never_begun_loses_no_try(self):
        for item, row in self.rows.items():
            open_claims = sum(row.holder is claim for claim in self.claims)
            assert 0 <= row.run_count <= row.begun + open_claims + row.forfeited, (item, row)

    @invariant()
    def a_settled_claim_holds_nothing_that_was_never_begun(self):
        """But for what has its try back, and only a lease to wait for."""
        for item, row in self.rows.items():
            settled = row.holder is not None and row.holder not in self.claims
            assert not settled or row.begun or not row.run_count, (item, row)


Settlement.TestCase.settings = settings(max_examples=400, stateful_step_count=40, derandomize=True)
test_what_others_do_between_any_two_steps_of_a_settlement_harms_nobody = Settlement.TestCase


def test_what_civicrm_freed_for_a_retry_and_another_claimed_at_once_is_left_to_him():
    claim = Claim(["1", "2"], ends=4600, answered_at=1000.0, seconds=0.0, sent=True, dead=True)
    rows = [RowSeen("1", 2, 3600.0 - 1), RowSeen("2", 1, 3600.0 - 2)]  # his lease began a second later
    first, second = settle(rows, open_claim(claim, 1002.0, 3600, retry_interval=0))
    assert first.fate is Fate.LEFT
    assert second.fate is Fate.TRY_COUNTED
