"""New settings are tried before they come into force, and what fails then makes nothing worse."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_master import FakeMaster
from support.records import site_settings

from coworker.config.settings import Config, CoworkerSettings, DomainSettings, LogSettings
from coworker.ipc import messages as m
from coworker.master.reload import Reload
from coworker.master.site import Site
from coworker.model import ExitStatus, Role
from coworker.model import WorkerState as S

READY = m.Ready("6.13.3", 0.5)
STAGING = m.SiteState("Staging", None, None, None, "", "")
CONTROL_READY = READY._replace(gives_back=False)
HERE = Path("/nowhere")


class FullMaster(FakeMaster):
    """It can fork as many children as `room` says."""

    room = 99

    def spawn(self, record, settings, sink):
        if len(self.records) >= self.room:
            raise OSError(11, "Resource temporarily unavailable")
        return super().spawn(record, settings, sink)


class World:
    """The sites "a" and "b" with one worker each; `ends` are the reasons of reloads that ended."""

    def __init__(self, folder):
        self.master, self.ends = FullMaster(folder), []
        self.sites = {name: Site(site_settings(name, count=1), self.master) for name in "ab"}
        for site in self.sites.values():
            site.decide(1.0)
        for record in list(self.master.records):
            self.sites[record.site].heard(record, READY, 1.5)

    def down(self, *names):
        for name in names:
            for now in (2.0, 3.0, 4.0):
                self.sites[name].health.boot_failed("no PHP", now, started=now)

    def reload(self, sites=None, **changes):
        """A reload of the same sites with other settings, begun at 5.0."""
        sites = sites or self.sites
        settings = tuple(replace(site.settings, **changes) for site in sites.values())
        config = Config(CoworkerSettings(HERE, HERE), LogSettings(), settings)
        reload = Reload(config, sites, lambda _reload, reason: self.ends.append(reason))
        reload.begin(self.sites, 5.0)
        return reload

    def canaries(self):
        return {(r.site, r.boot_domain): r for r in self.master.records if r.life.canary}

    def hybrid(self):
        """The canaries of site "a", control's last, in a reload in which control has a way of its own."""
        del self.sites["b"]
        self.reload(channel="pipe,web")
        worker, control = (r for r in self.master.records if r.life.canary)
        assert (worker.role, control.role) == (Role.WORKER, Role.CONTROL)
        return worker, control

    def say(self, canary, report):
        self.sites[canary.site].heard(canary, report, 6.0)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_it_ends_well_once_when_the_last_canary_has_said_hello(world):
    world.reload()
    a, b = world.canaries().values()
    world.say(b, READY)
    assert world.ends == []
    world.say(a, READY)
    assert world.ends == [None]
    world.sites["a"].ended(a, ExitStatus(1), 7.0)
    assert world.ends == [None], "what becomes of it later is another matter"


def test_one_that_fails_ends_it_with_its_reason_whatever_the_others_say_later(world):
    world.reload()
    a, b = world.canaries().values()
    world.say(b, m.BootFailed("no such command"))
    assert world.ends == ["site b: no such command"]
    world.say(a, READY)
    world.sites["b"].ended(b, ExitStatus(0), 7.0)
    assert len(world.ends) == 1
    assert not any(site.health.breaker.failures for site in world.sites.values())


def test_one_that_dies_without_a_word_has_failed(world):
    world.reload()
    canary = world.canaries()["a", None]
    world.sites["a"].ended(canary, ExitStatus(signal=9), 6.0)
    (reason,) = world.ends
    assert reason.startswith("site a: ")
    assert "SIGKILL" in reason


def test_after_a_failure_the_canaries_leave_at_once_and_nobody_else(world):
    reload = world.reload()
    a, b = world.canaries().values()
    world.say(b, READY)
    world.say(a, m.BootFailed("no such command"))  # it is on its way out by itself
    before = len(world.master.sent)
    reload.drop_canaries(6.5)
    assert world.master.sent[before:] == [(b.id, m.Retire("reload", now=True))]


def test_a_site_that_was_down_has_no_canary_and_no_veto(world):
    world.down("b")
    world.reload()
    (canary,) = world.canaries().values()
    assert canary.site == "a"
    world.say(canary, READY)
    assert world.ends == [None]


def test_where_all_are_down_there_is_nothing_to_wait_for(world):
    world.down("a", "b")
    world.reload()
    assert world.canaries() == {}
    assert world.ends == [None]


def test_a_site_that_is_new_is_tried(world):
    world.sites["c"] = Site(site_settings("c"), world.master, on_trial=True)
    sites = dict(world.sites)
    del world.sites["c"]
    world.reload(sites)
    assert {site for site, _ in world.canaries()} == {"a", "b", "c"}
    sites["c"].decide(5.1)
    assert [r.site for r in world.master.records].count("c") == 1, "until then it has no other child"
    sites["c"].heard(world.canaries()["c", None], m.BootFailed("no PHP"), 6.0)
    assert world.ends == ["site c: no PHP"]


def test_each_pipe_of_a_domain_is_tried_too(world):
    world.reload(domains=(DomainSettings(2, "two"), DomainSettings(3, "three")))
    canaries = world.canaries()
    assert set(canaries) == {(site, domain) for site in "ab" for domain in (None, 2, 3)}
    for canary in list(canaries.values())[:-1]:
        world.say(canary, READY)
    assert world.ends == []
    world.say(list(canaries.values())[-1], m.BootFailed("no such command"))
    assert world.ends == ["site b: no such command"]


def test_a_fork_that_fails_ends_it_and_no_other_is_tried(world):
    world.master.room = len(world.master.records) + 1
    reload = world.reload()
    assert world.ends == ["site b: cannot fork: Resource temporarily unavailable"]
    (canary,) = world.canaries().values()
    reload.drop_canaries(6.0)
    assert world.master.sent[-1] == (canary.id, m.Retire("reload", now=True))
    assert world.sites["b"].health.breaker.failures == 0
    world.say(canary, READY)
    assert len(world.ends) == 1


def test_given_up_by_whoever_began_it_it_ends_once(world):
    reload = world.reload()
    reload.end("superseded by another")
    reload.end("the daemon stops")
    for canary in world.canaries().values():
        world.say(canary, READY)
    assert world.ends == ["superseded by another"]


def test_what_an_older_canary_says_means_nothing_to_a_newer_reload(world):
    world.reload().end("superseded by another")
    old = world.canaries()["a", None]
    world.reload()
    world.say(old, m.BootFailed("the former settings were wrong"))
    assert world.ends == ["superseded by another"]
    for canary in world.canaries().values():
        if canary is not old:
            world.say(canary, READY)
    assert world.ends == ["superseded by another", None]


@pytest.mark.parametrize(("channel", "count"), [("pipe", 1), ("web", 1), ("pipe,web", 2), ("web,pipe", 2)])
def test_control_is_tried_where_its_way_is_another_than_the_workers(world, channel, count):
    world.reload(channel=channel)
    roles = [r.role for r in world.master.records if r.life.canary and r.site == "a"]
    assert roles == [Role.WORKER, Role.CONTROL][:count]


def test_a_control_that_fails_ends_it_and_is_no_failed_boot(world):
    worker, control = world.hybrid()
    world.say(worker, READY)
    assert world.ends == []
    world.say(control, m.BootFailed("no such command"))
    assert world.ends == ["site a: no such command"]
    assert world.sites["a"].health.breaker.failures == 0


def test_a_control_whose_pipe_is_lost_while_it_boots_ends_it_and_is_no_failed_boot(world):
    _, control = world.hybrid()
    world.say(control, m.Failed("died", "the pipe closed its output"))
    world.sites["a"].ended(control, ExitStatus(0), 6.0)
    assert world.ends == ["site a: the pipe closed its output"]
    assert world.sites["a"].health.breaker.failures == 0


def test_a_control_that_was_tried_leaves_as_soon_as_it_has_said_hello_and_is_asked_nothing(world):
    worker, control = world.hybrid()
    site, acting = world.sites["a"], world.sites["a"].roster.control()
    site.decide(5.5)
    assert acting.life.state is S.READY, "one that boots replaces nobody"
    world.say(control, CONTROL_READY)
    world.say(control, STAGING)
    assert world.ends == []
    assert world.master.sent[-1] == (control.id, m.Retire("reload"))
    assert site.roster.control() is acting
    assert site.roster.gives_back, "what the acting one can do has not changed"
    assert not site.health.held
    site.ended(control, ExitStatus(0), 6.5)
    site.decide(6.6)
    assert acting.life.state is S.READY
    world.say(worker, READY)
    assert world.ends == [None]


def test_after_a_reload_control_is_replaced_by_another_than_the_one_that_was_tried(world):
    worker, control = world.hybrid()
    site, acting = world.sites["a"], world.sites["a"].roster.control()
    world.say(worker, READY)
    world.say(control, CONTROL_READY)
    site.adopt(replace(site.settings, channel="pipe,web"), site.phase)
    assert site.roster.control() is acting
    site.decide(7.0)
    successor = world.master.records[-1]
    assert (successor.role, successor.life.canary) == (Role.CONTROL, False)
    site.heard(successor, CONTROL_READY, 7.5)
    site.heard(successor, STAGING, 7.5)
    assert site.health.held
    assert not site.roster.gives_back
    site.ended(control, ExitStatus(1), 7.6)
    site.decide(8.0)
    assert site.roster.control() is successor
    assert (acting.life.state, successor.life.state) == (S.RETIRING, S.READY)
    assert site.health.breaker.failures == 0
