"""When a site is left alone although it answers, and when its workers are replaced."""

from random import Random

from support.fake_master import FakeLog

from coworker.config.settings import SiteSettings
from coworker.ipc.messages import SiteState
from coworker.master.site_health import SiteHealth
from coworker.policy.site_health import FRESH_ELSEWHERE, FRESH_WHILE_HELD, Observed, code_hold

FINE = Observed("Production", False, "6.13.3", "6.13.3")


class Bench:
    def __init__(self, **settings):
        log = FakeLog()
        self.lines, self.rolled = log.logged, 0
        self.health = SiteHealth(SiteSettings("a", None, "x", **settings), log, Random(1))

    def see(self, now, digest="", what="", *, old_code=False, **changes):
        """Whether it is held because of what control saw, and was not before."""
        held = self.health.held
        state = SiteState(*FINE._replace(**changes), digest, what)
        self.rolled += self.health.noticed(state, now, old_code=old_code)
        return self.health.held and not held

    def tend(self, now):
        self.rolled += self.health.tend(now)


def test_while_controls_fail_after_their_hello_failures_grow_and_it_is_said_once_that_the_site_is_down():
    health, lines = (bench := Bench()).health, bench.lines
    failures = []
    for now in range(0, 50, 10):
        health.boot_succeeded(now)
        assert not health.is_down, "control may look"
        health.boot_failed("it answers something odd", now + 1, started=now, after_hello=True)
        failures.append(health.breaker.failures)
    assert failures == [1, 2, 3, 4, 5]
    assert health.is_down
    health.boot_succeeded(60)
    health.control_was_of_use(61)
    assert health.breaker.failures == 0
    assert [line for line in lines if line != "boot_failed"] == ["site_down", "site_up"]
    health.boot_failed("no PHP", 70, started=69)
    health.boot_succeeded(71)
    assert health.breaker.failures == 0, "a hello counts again"


def test_each_hold_is_told_once_and_control_is_fresh_more_often_meanwhile():
    bench = Bench()
    assert not bench.see(0)
    assert bench.see(1, maintenance=True)
    assert not bench.see(2, maintenance=True)
    assert bench.health.held
    assert bench.health.fresh_every == FRESH_WHILE_HELD
    assert "maintenance" in bench.health.holds[0].reason
    assert not bench.see(3)
    assert not bench.health.held
    assert bench.health.fresh_every == FRESH_ELSEWHERE
    assert bench.lines == ["site_held", "site_free"]


def test_workers_are_replaced_once_when_the_code_has_changed_and_is_at_rest():
    bench = Bench()
    bench.see(0, digest="one")
    bench.see(10, digest="two", what="/x")
    bench.see(15, digest="three", what="/x")
    bench.tend(20)
    assert bench.rolled == 0
    assert bench.health.due_at() == 25
    bench.tend(25)
    assert bench.rolled == 1
    bench.see(30, digest="three")
    bench.tend(100)
    assert (bench.rolled, bench.lines) == (1, ["site_held", "renewing", "site_free"])


def test_nothing_is_claimed_from_when_the_code_changes_until_it_is_at_rest():
    bench = Bench()
    bench.see(0, digest="one")
    assert bench.see(1, digest="two", what="/x")
    bench.tend(10.9)
    assert bench.health.holds == [code_hold("/x")]
    assert bench.health.fresh_every == FRESH_ELSEWHERE, "no control need read settings for that"
    bench.tend(11)
    assert not bench.health.held


def test_a_hold_of_the_site_outlasts_the_change_of_its_code():
    bench = Bench()
    bench.see(0, digest="one")
    assert bench.see(1, digest="two", maintenance=True)
    bench.tend(11)
    assert [hold.reason for hold in bench.health.holds] == ["the site is in maintenance mode"]
    assert bench.lines == ["site_held", "site_held", "renewing"]


def test_a_release_that_came_at_once_needs_no_rest_and_its_files_are_no_change():
    bench = Bench()
    bench.see(0, digest="one")
    assert bench.see(1, digest="two"), "its files were seen before the link"
    bench.health.code_moved("/current", 1)
    assert not bench.health.held
    assert not bench.see(2, digest="mixed", old_code=True)
    assert not bench.see(3, digest="two")
    assert bench.see(4, digest="three")
    assert bench.rolled == 0


def test_code_that_is_as_it_was_again_replaces_nobody():
    bench = Bench()
    bench.see(0, digest="one")
    bench.see(10, digest="two")
    bench.see(15, digest="one")
    assert not bench.health.held
    bench.tend(100)
    assert bench.rolled == 0


def test_watch_code_false_replaces_nobody():
    bench = Bench(watch_code=False)
    bench.see(0, digest="one")
    bench.see(10, digest="two")
    bench.tend(100)
    assert bench.rolled == 0


def test_a_newer_database_replaces_the_workers_once_and_holds_until_the_code_is_as_new():
    bench = Bench()
    bench.see(0)
    assert bench.see(10, database="6.14.0")
    bench.see(11, database="6.14.0")
    assert bench.rolled == 1
    bench.see(12, code="6.14.0", database="6.14.0")
    assert not bench.health.held
