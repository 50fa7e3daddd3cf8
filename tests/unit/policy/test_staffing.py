"""Whom to boot and whom to retire: tables of plain values, and a machine of random schedules."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coworker.model import RetireReason, WorkerState
from coworker.policy.staffing import Member, Plan, Wanted, plan, retarget

BOOTING, READY, BUSY, RETIRING = (
    WorkerState.BOOTING,
    WorkerState.READY,
    WorkerState.BUSY,
    WorkerState.RETIRING,
)
AGE, RELOAD, SURPLUS = RetireReason.MAX_AGE, RetireReason.RELOAD, RetireReason.SURPLUS


def wanted(count=2, **more):
    return Wanted(**{"count": count, "boot_budget": 1, "generation": 1, **more})


def member(number, state=READY, **more):
    return Member(number, state, **{"generation": 1, **more})


@pytest.mark.parametrize(
    ("want", "members", "expected"),
    [
        pytest.param(wanted(), [], Plan(1), id="one boots at a time"),
        pytest.param(wanted(boot_budget=5), [], Plan(2), id="never more than wanted"),
        pytest.param(wanted(4, boot_budget=2), [member(1, BOOTING)], Plan(1), id="those that boot count"),
        pytest.param(wanted(), [member(1), member(2, BUSY)], Plan(), id="enough"),
        pytest.param(wanted(may_boot=False), [], Plan(), id="no boot while backing off"),
        pytest.param(wanted(1), [member(1, expired=AGE)], Plan(1), id="successor first"),
        pytest.param(
            wanted(1),
            [member(1, expired=AGE), member(2, BOOTING)],
            Plan(),
            id="the old one stays until the successor is ready",
        ),
        pytest.param(
            wanted(1), [member(1, expired=AGE), member(2)], Plan(0, [(1, AGE)]), id="then the old one goes"
        ),
        pytest.param(
            wanted(1, overlap=False), [member(1, expired=AGE)], Plan(0, [(1, AGE)]), id="no overlap: it goes"
        ),
        pytest.param(
            wanted(1, overlap=False),
            [member(1, RETIRING, expired=AGE)],
            Plan(),
            id="no overlap: its place is taken while it goes",
        ),
        pytest.param(wanted(1), [member(1, generation=0)], Plan(1), id="an older generation is replaced"),
        pytest.param(
            wanted(2),
            [member(1, BUSY, generation=0, progress_at=9), member(2, generation=0), member(3)],
            Plan(0, [(2, RELOAD)]),
            id="idle ones roll first; the next boot waits for the place",
        ),
        pytest.param(
            wanted(2),
            [
                member(1, BUSY, generation=0, progress_at=1),
                member(2, BUSY, generation=0, progress_at=9),
                member(3),
            ],
            Plan(0, [(2, RELOAD)]),
            id="the one whose task takes long rolls last",
        ),
        pytest.param(
            wanted(2),
            [member(1, RETIRING), member(2), member(3, RETIRING)],
            Plan(),
            id="those that retire still hold memory",
        ),
        pytest.param(
            wanted(1),
            [member(1, idle_since=5), member(2, idle_since=3), member(3, BOOTING)],
            Plan(0, [(3, SURPLUS), (2, SURPLUS)]),
            id="too many: those that boot, then the longest idle",
        ),
        pytest.param(
            wanted(2, stopping=True),
            [member(1, BUSY), member(2, BOOTING), member(3, RETIRING)],
            Plan(0, [(1, RetireReason.SHUTDOWN), (2, RetireReason.SHUTDOWN)]),
            id="at a stop all go",
        ),
        pytest.param(
            wanted(1),
            [member(1, BOOTING, generation=0), member(2)],
            Plan(0, [(1, RELOAD)]),
            id="one that boots with old settings goes at once",
        ),
    ],
)
def test_plan(want, members, expected):
    assert plan(want, members) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"timed_out": 3, "present": 4}, 1),
        ({"timed_out": 2, "present": 4}, 2),
        ({"timed_out": 4, "present": 4, "min_idle": 0}, 0),
        ({"waiting": 2, "present": 1, "target": 1}, 3),
        ({"waiting": 9, "present": 1, "target": 1}, 4),
        ({"waiting": 1, "present": 0, "target": 0, "min_idle": 0}, 1),
        ({"target": 4, "count": 2, "present": 4}, 2),
        ({"timed_out": 1, "waiting": 1, "present": 2, "target": 2}, 3),
        ({}, 4),
    ],
)
def test_retarget(given, expected):
    usual = {"target": 4, "count": 4, "min_idle": 1, "present": 4, "timed_out": 0, "waiting": 0}
    assert retarget(**{**usual, **given}) == expected


class Reconciling(RuleBasedStateMachine):
    """Children die, boot, work, expire and are reloaded in any order; the plan is carried out each time."""

    def __init__(self):
        super().__init__()
        self.want = wanted(3, boot_budget=2)
        self.members = {}
        self.next_id = 1
        self.rng = Random(1)

    def reconcile(self):
        step = plan(self.want, list(self.members.values()))
        alive_before = self.alive()
        for number, _ in step.retire:
            assert self.members[number].state is not RETIRING, "told twice"
            self.set(number, state=RETIRING)
        if self.want.overlap and not self.want.stopping:
            assert self.alive() >= min(alive_before, self.want.count), "retired before replaced"
        for _ in range(step.boot):
            self.members[self.next_id] = member(self.next_id, BOOTING, generation=self.want.generation)
            self.next_id += 1
        again = plan(self.want, list(self.members.values()))
        assert again == Plan(), "one step is enough: nothing changed since"

    def alive(self):
        return sum(m.state in (READY, BUSY) for m in self.members.values())

    def set(self, number, **changes):
        self.members[number] = replace(self.members[number], **changes)

    def pick(self, data, *states):
        numbers = [n for n, m in self.members.items() if m.state in states]
        return data.draw(st.sampled_from(numbers)) if numbers else None

    @rule(data=st.data())
    def boots(self, data):
        if (number := self.pick(data, BOOTING)) is not None:
            self.set(number, state=READY)
            self.reconcile()

    @rule(data=st.data())
    def works_or_rests(self, data):
        if (number := self.pick(data, READY, BUSY)) is not None:
            self.set(number, state=BUSY if self.members[number].state is READY else READY)
            self.reconcile()

    @rule(data=st.data())
    def dies(self, data):
        if (number := self.pick(data, BOOTING, READY, BUSY, RETIRING)) is not None:
            del self.members[number]
            self.reconcile()

    @rule(data=st.data())
    def expires(self, data):
        if (number := self.pick(data, READY, BUSY)) is not None:
            self.set(number, expired=AGE)
            self.reconcile()

    @rule()
    def reload(self):
        self.want = replace(self.want, generation=self.want.generation + 1)
        self.reconcile()

    @rule(count=st.integers(0, 5), overlap=st.booleans())
    def change_settings(self, count, overlap):
        self.want = replace(self.want, count=count, overlap=overlap)
        self.reconcile()

    @rule()
    def stop(self):
        self.want = replace(self.want, stopping=not self.want.stopping)
        self.reconcile()

    @invariant()
    def budget_is_kept(self):
        current = [m for m in self.members.values() if m.generation == self.want.generation]
        assert sum(m.state is BOOTING for m in current) <= max(2, self.want.boot_budget)


Reconciling.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestReconciling = Reconciling.TestCase


def test_in_a_calm_world_every_schedule_ends_with_the_count_wanted():
    """From any mix, with boots that succeed and retirements that end, the wanted number is ready."""
    rng = Random(7)
    for _ in range(300):
        want = wanted(
            rng.randint(1, 5), boot_budget=rng.randint(1, 3), generation=2, overlap=rng.random() < 0.7
        )
        members = {
            n: member(n, rng.choice([BOOTING, READY, BUSY, RETIRING]), generation=rng.choice([1, 2]))
            for n in range(rng.randint(0, 8))
        }
        fresh = 100
        for _ in range(40):
            step = plan(want, list(members.values()))
            for number, _reason in step.retire:
                members[number] = replace(members[number], state=RETIRING)
            for _ in range(step.boot):
                fresh += 1
                members[fresh] = member(fresh, BOOTING, generation=2)
            number = rng.choice([*members, None])
            if number is None:
                continue
            if members[number].state is RETIRING:
                del members[number]
            elif members[number].state is BOOTING:
                members[number] = replace(members[number], state=READY)
        for _ in range(60):  # now everything in hand ends
            step = plan(want, list(members.values()))
            members = {n: m for n, m in members.items() if m.state is not RETIRING}
            for number, _reason in step.retire:
                members.pop(number, None)
            members = {
                n: replace(m, state=READY if m.state is BOOTING else m.state) for n, m in members.items()
            }
            for _ in range(step.boot):
                fresh += 1
                members[fresh] = member(fresh, BOOTING, generation=2)
        states = [m for m in members.values() if m.state in (READY, BUSY) and m.generation == 2]
        assert len(states) == want.count == len(members)
