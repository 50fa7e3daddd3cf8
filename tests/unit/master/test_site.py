"""One site in the master, with no process in sight: what it decides from the reports of its children."""

import pytest
from support.fake_master import FakeMaster
from support.records import ready_site, work_found

from coworker.ipc import messages as m
from coworker.master.pipe_groups import PipeGroup
from coworker.master.site import SETTLE_PATIENCE
from coworker.model import ExitStatus, MasterPhase, RetireReason, Role, WorkerState


@pytest.fixture
def master(tmp_path):
    return FakeMaster(tmp_path)


@pytest.fixture
def site(master):
    """A site whose control (1) and worker (2) are ready."""
    site = ready_site(master)
    assert [record.role for record in master.records] == [Role.CONTROL, Role.WORKER]
    return site


def orders(master, kind):
    return [record_id for record_id, order in master.sent if isinstance(order, kind)]


def lose_worker_with_a_claim(master, site, now):
    """It dies in the middle of a task: a claim is to be settled."""
    site.heard(master.records[1], work_found("q"), now)
    site.decide(now)
    site.heard(master.records[1], m.Claimed("2.1", "q", [[None, None, ["7"]]], now, 0.0), now)
    site.ended(master.records[1], ExitStatus(signal=9), now)


def test_a_look_is_lost_with_the_control_that_was_asked_and_no_other_pays_for_it(master, site):
    site.decide(2.0)
    assert orders(master, m.Look) == [1]
    site.adopt(site.settings, site.phase)  # a reload: another control comes
    site.decide(2.1)
    newer = next(r for r in reversed(master.records) if r.role is Role.CONTROL)
    site.heard(newer, m.Ready("6.13.3", 0.5), 2.5)
    lose_worker_with_a_claim(master, site, 2.6)
    site.dispatch.queues.looks.asked = 1  # the older one has not answered its look
    site.decide(2.7)
    assert orders(master, m.Settle) == [newer.id]
    site.ended(master.records[0], ExitStatus(signal=9), 3.0)
    site.decide(3.1)
    assert orders(master, m.Look)[-1] == newer.id
    assert master.signalled == []


def test_when_time_is_up_at_a_stop_no_new_control_is_booted(master, site, monkeypatch):
    site.decide(2.0)
    lose_worker_with_a_claim(master, site, 2.0)
    site.stop(MasterPhase.STOPPING, 3.0)
    site.decide(3.0)
    control = master.records[0]
    booted = len(master.records)
    late = 3.0 + SETTLE_PATIENCE + 0.1
    site.decide(late)
    assert control.life.state is WorkerState.RETIRING
    monkeypatch.setattr(PipeGroup, "look", lambda _group, _now: None)  # its pipe is not seen gone yet
    site.ended(control, ExitStatus(signal=9), late)
    site.decide(late + 0.1)
    assert len(master.records) == booted
    monkeypatch.undo()
    site.decide(late + 1.0)
    assert site.empty


def test_what_a_worker_said_before_the_ladder_does_not_put_it_off(master, site):
    site.decide(2.0)
    worker = master.records[1]
    site.heard(master.records[0], work_found("q"), 2.0)
    site.decide(2.0)
    assert orders(master, m.Work) == [worker.id]
    site.staff.retire(worker, RetireReason.SHUTDOWN, 3.0, at_once=True)
    site.heard(worker, m.Claiming("q", 3.1), 3.1)
    site.heard(worker, m.Claimed("2.1", "q", [[None, None, ["7"]]], 3.1, 0.0), 3.2)
    master.timers.run(8.0)
    assert "overdue" in master.logged


def test_while_there_is_nothing_to_do_a_look_takes_no_decision(master, site):
    site.decide(2.0)
    site.heard(master.records[0], work_found(), 2.1)
    site.dirty = False
    before = len(orders(master, m.Look))
    due = site.dispatch.queues.looks.next_at
    assert site.effects.timers.next_at <= due
    master.timers.run(due)
    assert not site.dirty
    assert len(orders(master, m.Look)) == before + 1
    site.heard(master.records[0], work_found(), due + 0.1)
    assert not site.dirty
    master.timers.run(due + 100)
    site.heard(master.records[0], work_found("q"), due + 100)
    assert site.dirty


def test_a_site_that_may_not_be_looked_at_has_no_timer_for_it(master, site):
    site.decide(2.0)
    site.heard(master.records[0], work_found(), 2.1)
    site.resume(MasterPhase.QUIET)
    site.decide(2.2)
    master.timers.run(50.0)
    assert len(orders(master, m.Look)) == 1
