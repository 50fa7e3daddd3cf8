"""Read-only pictures of what the master knows."""

import dataclasses

import pytest
from support.records import change_queue, working_site

from coworker.ipc import messages as m
from coworker.master import views
from coworker.master.ledger import Place
from coworker.model import ExitStatus, Identity, MasterPhase, Role, WorkerState


@pytest.fixture
def world(tmp_path):
    return working_site(tmp_path)


def test_a_site_that_is_worked(world):
    _, site, _ = world
    assert views.status(site) == views.SiteStatus("s", MasterPhase.RUNNING, None, "", None, ())


def test_a_site_that_is_down_says_since_when_and_why(world):
    _, site, _ = world
    for now in (10.0, 20.0, 30.0):
        site.health.boot_failed("no PHP", now, started=now)
    status = views.status(site)
    assert (status.down_since, status.down_reason) == (30.0, "no PHP")
    site.health.boot_succeeded(40.0)
    assert views.status(site).down_since is None


def test_a_site_that_is_held_says_since_when_and_why(world):
    master, site, _ = world
    site.heard(master.records[0], m.SiteState("Staging", False, "6.13.3", "6.13.3", "", ""), 5.0)
    status = views.status(site)
    assert status.held_since == 5.0
    assert "Staging" in status.holds[0]


def test_children_queues_and_claims(world):
    _, site, worker = world
    site.heard(worker, m.Claiming("q", 2.0), 2.0)
    site.heard(worker, m.Claimed("2.1", "q", [[None, None, ["7"]], [100, 1, ["8"]]], 2.5, 0.5), 2.6)
    site.heard(worker, m.HandedOff("2.1", ["8"]), 2.6)
    (view,) = views.snapshot([site])
    control, child = view.children
    assert (control.role, control.number, control.done) == (Role.CONTROL, 0, 1)
    assert (child.id, child.number, child.pid) == (worker.id, 1, worker.life.pid)
    assert (child.state, child.queue, child.running, child.left) == (WorkerState.BUSY, "q", "2.1", 1)
    assert child.identity == Identity(None, None)
    assert [state.info.name for state in view.queues] == ["q"]
    assert view.queues[0].handed == 1
    held, handed = view.claims
    assert (held.claim, held.place, held.worker, held.items) == ("2.1", Place.AT_WORKER, worker.id, ("7",))
    assert (handed.place, handed.items) == (Place.HANDED, ("8",))
    assert held.lease_until == 2.0 + 3600


def test_what_is_settled_is_seen(world):
    _, site, worker = world
    site.heard(worker, m.Claimed("2.1", "q", [[None, None, ["7"]]], 2.5, 0.5), 2.6)
    site.ended(worker, ExitStatus(signal=9), 3.0)
    site.pipe_groups.tend(3.0, give_up=False)
    (view,) = views.snapshot([site])
    assert view.settling == 1
    assert [claim.place for claim in view.claims] == [Place.SETTLING]
    assert [child.role for child in view.children] == [Role.CONTROL]


def test_a_picture_does_not_change_with_what_it_shows(world):
    _, site, worker = world
    (before,) = views.snapshot([site])
    site.heard(worker, m.Claiming("q", 2.0), 2.0)
    change_queue(site.dispatch, demand=9)
    (after,) = views.snapshot([site])
    assert (before.children[1].claiming, after.children[1].claiming) == (None, "q")
    assert (before.queues[0].demand, after.queues[0].demand) != (9, 9)
    for value in (before, before.status, before.children[0]):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, dataclasses.fields(value)[0].name, None)
