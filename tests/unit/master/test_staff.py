"""Who boots, with which limits, and who must leave; without a process in sight."""

from dataclasses import replace
from math import inf
from random import Random

import pytest
from support.fake_master import FakeMaster
from support.records import site_settings

from coworker.config.settings import DomainSettings
from coworker.ipc import messages as m
from coworker.master.deadlines import LEAVE_GRACE, Watchdog
from coworker.master.roster import Roster
from coworker.master.site_health import SiteHealth
from coworker.master.staff import BOOT_GRACE, Staff
from coworker.model import ExitStatus, RetireReason, Role
from coworker.model import WorkerState as S


class ForkingMaster(FakeMaster):
    """Notes with which settings each child was forked; raises `fork_error` instead, if there is one."""

    def __init__(self, claims):
        super().__init__(claims)
        self.forks, self.fork_error = [], None

    def spawn(self, record, settings, sink):
        self.forks.append(settings)
        if self.fork_error is not None:
            raise self.fork_error
        return super().spawn(record, settings, sink)


class Bench:
    """The staff of one site, and its parts."""

    def __init__(self, folder, domains=(), **workers):
        self.master, self.late = ForkingMaster(folder), []
        settings = replace(site_settings(**workers), domains=domains)
        self.health = SiteHealth(settings, self.master.log, Random(1))
        self.roster = Roster(self.master.log)
        watchdog = Watchdog(self.master, self.roster, lambda record, _now: self.late.append(record.id))
        self.staff = Staff(settings, self.master, self.roster, self.health, watchdog, None)

    def reconcile(self, now, *, waiting=0, stop=False, control=0, boot_domain=lambda: None):
        self.staff.reconcile(
            now, waiting=waiting, workers_stop=stop, control=control, boot_domain=boot_domain
        )

    def ready(self, now):
        """All who boot say hello."""
        for record in self.roster:
            if record.life.state is S.BOOTING:
                self.staff.ready(record, 0.5, now)

    def leave(self, now):
        """All who were told to go are gone."""
        for record in self.roster:
            if record.life.state is S.RETIRING:
                self.staff.gone(record, ExitStatus(0), now)

    def states(self):
        return {record.id: record.life.state for record in self.roster}

    def retired(self):
        return [(number, order.reason) for number, order in self.master.sent if isinstance(order, m.Retire)]


@pytest.fixture
def bench(tmp_path):
    def make(*domains, **workers):
        return Bench(tmp_path, domains, **workers)

    return make


# --- who boots ---


def test_each_draws_its_own_limits_and_control_counts_nothing(bench):
    crew = bench(count=5, boot_budget=5, max_requests=1000, max_age=2000.0)
    crew.reconcile(1.0, control=1)
    control, *workers = crew.roster
    assert (control.role, control.slot, control.max_requests) == (Role.CONTROL, 0, 0)
    assert [each.slot for each in workers] == [1, 2, 3, 4, 5]
    assert all(900 <= each.max_requests <= 1000 for each in workers)
    assert all(1800 <= each.life.max_age <= 2000 for each in crew.roster)
    assert len({each.max_requests for each in workers}) > 1
    assert len({each.life.max_age for each in crew.roster}) > 1


def test_a_boot_has_its_time_and_a_bit_more_and_then_none(bench):
    crew = bench(count=2, boot_budget=2, boot_timeout=30.0)
    crew.reconcile(1.0)
    crew.staff.ready(crew.roster.get(1), 0.5, 2.0)
    crew.master.timers.run(1.0 + 30.0 + BOOT_GRACE - 0.1)
    assert crew.late == []
    crew.master.timers.run(1.0 + 30.0 + BOOT_GRACE)
    assert crew.late == [2]


def test_a_fork_that_fails_is_a_failed_boot_and_no_second_is_tried_in_the_same_step(bench):
    crew = bench(count=3, boot_budget=3)
    crew.master.fork_error = OSError(12, "Cannot allocate memory")
    crew.reconcile(1.0)
    assert len(crew.master.forks) == 1
    assert crew.health.breaker.failures == 1
    assert "Cannot allocate memory" in crew.health.breaker.reason
    assert len(crew.roster) == 0
    crew.master.fork_error = None
    crew.reconcile(1.1)
    assert len(crew.master.forks) == 1, "it backs off"
    crew.reconcile(crew.health.breaker.next_boot_at)
    assert len(crew.roster) == 1, "one at a time until one has booted"


def test_a_canary_that_cannot_be_forked_or_dies_says_nothing_of_the_settings_in_force(bench):
    crew = bench(count=1)
    crew.master.fork_error = OSError(11, "Resource temporarily unavailable")
    with pytest.raises(OSError, match="temporarily"):
        crew.staff.boot(Role.WORKER, crew.staff.settings, 1.0, canary=True)
    assert len(crew.roster) == 0
    crew.master.fork_error = None
    canary = crew.staff.boot(Role.WORKER, crew.staff.settings, 1.0, canary=True)
    crew.staff.gone(canary, ExitStatus(1), 2.0)
    assert crew.health.breaker.failures == 0
    assert crew.master.logged == []


def test_a_child_that_ends_while_it_boots_is_a_failed_boot_and_one_that_was_told_to_go_is_none(bench):
    crew = bench(count=2, boot_budget=2)
    crew.reconcile(1.0)
    first, second = crew.roster
    crew.staff.retire(first, RetireReason.SURPLUS, 1.5)
    crew.staff.gone(first, ExitStatus(0), 2.0)
    assert crew.health.breaker.failures == 0
    crew.staff.gone(second, ExitStatus(signal=11), 2.0)
    assert crew.health.breaker.failures == 1
    assert "SIGSEGV" in crew.health.breaker.reason


def test_a_canary_holds_up_no_boot_of_a_site_that_tries_one_at_a_time(bench):
    crew = bench(count=1)
    crew.health.boot_failed("no PHP", 1.0, started=1.0)
    now = crew.health.breaker.next_boot_at
    crew.staff.boot(Role.WORKER, crew.staff.settings, now, canary=True)
    crew.reconcile(now)
    assert len(crew.roster) == 2


def test_a_worker_boots_with_the_pipe_of_the_domain_that_is_wanted_then(bench):
    crew = bench(DomainSettings(2, "ssh web2 cv pipe vtl"), count=3, boot_budget=3)
    crew.roster.home_domain = 1
    wanted = iter([2, None, 2])
    crew.reconcile(1.0, control=1, boot_domain=lambda: next(wanted))
    assert [each.boot_domain for each in crew.roster] == [None, 2, None, 2], "control has the site's own"
    assert [each.life.domain for each in crew.roster] == [1, 2, 1, 2]
    assert [each.remote for each in crew.roster] == [False, True, False, True]
    assert [each.pipe for each in crew.master.forks] == ["cmd", "ssh web2 cv pipe vtl"] * 2


# --- who leaves ---


def test_with_overlap_it_works_until_its_successor_is_ready(bench):
    crew = bench(count=1, max_requests=10)
    crew.reconcile(1.0)
    crew.ready(1.5)
    crew.roster.get(1).work.done = 10
    crew.reconcile(2.0)
    assert crew.states() == {1: S.READY, 2: S.BOOTING}
    assert [each.id for each in crew.staff.free(2.0)] == [1]
    crew.ready(3.0)
    crew.reconcile(3.0)
    assert crew.states() == {1: S.RETIRING, 2: S.READY}
    assert crew.retired() == [(1, "max_requests")]


def test_without_overlap_it_takes_nothing_more_and_its_place_is_free_only_when_it_is_gone(bench):
    crew = bench(count=1, max_requests=10, overlap=False)
    crew.reconcile(1.0)
    crew.ready(1.5)
    crew.roster.get(1).work.done = 10
    assert crew.staff.free(2.0) == []
    crew.reconcile(2.0)
    crew.reconcile(2.1)
    assert crew.states() == {1: S.RETIRING}
    crew.leave(3.0)
    crew.reconcile(3.0)
    assert crew.states() == {2: S.BOOTING}


def test_who_is_idle_for_long_leaves_down_to_min_idle_and_comes_back_for_work_that_waits(bench):
    crew = bench(count=3, boot_budget=3, idle_timeout=10.0, min_idle=1)
    crew.reconcile(1.0)
    crew.ready(2.0)
    crew.reconcile(11.9)
    assert crew.retired() == []
    crew.reconcile(12.0)
    assert [reason for _, reason in crew.retired()] == ["idle", "idle"]
    crew.leave(13.0)
    crew.reconcile(100.0)
    assert len(crew.roster) == 1, "the last one stays"
    crew.reconcile(100.0, waiting=1)
    assert len(crew.roster) == 2
    crew.reconcile(100.1, waiting=9)
    assert len(crew.roster) == 3, "never more than count"


def test_nobody_is_retargeted_while_the_site_stops(bench):
    crew = bench(count=3, boot_budget=3, idle_timeout=10.0, min_idle=0)
    crew.reconcile(1.0)
    crew.ready(2.0)
    crew.reconcile(50.0, stop=True)
    assert {reason for _, reason in crew.retired()} == {"shutdown"}
    assert crew.staff.target == 3


@pytest.mark.parametrize(("control", "left"), [(1, S.READY), (0, S.READY), (-1, S.RETIRING)])
def test_control_that_is_not_needed_may_stay_and_one_that_must_go_goes(bench, control, left):
    crew = bench(count=1)
    crew.reconcile(1.0, control=1)
    crew.ready(1.5)
    crew.reconcile(2.0, control=control, stop=True)
    assert crew.states()[1] is left


def test_a_control_that_is_only_welcome_is_not_booted(bench):
    crew = bench(count=1)
    crew.reconcile(1.0, control=0)
    assert not crew.roster.of(Role.CONTROL)


def test_who_is_told_to_leave_has_a_time_for_it_and_is_told_once(bench):
    crew = bench(count=1)
    crew.reconcile(1.0)
    crew.ready(1.5)
    worker = crew.roster.get(1)
    crew.staff.retire(worker, RetireReason.RELOAD, 2.0)
    crew.staff.retire(worker, RetireReason.SHUTDOWN, 2.1)
    assert crew.master.sent == [(1, m.Retire("reload"))]
    crew.master.timers.run(2.0 + LEAVE_GRACE - 0.1)
    assert crew.late == []
    crew.master.timers.run(2.0 + LEAVE_GRACE)
    assert crew.late == [1]
    crew.staff.retire(worker, RetireReason.SHUTDOWN, 20.0, at_once=True)
    assert crew.master.sent[1:] == [(1, m.Retire("shutdown", now=True))]
    assert worker.life.retire_reason is RetireReason.RELOAD, "the first reason stays"


def test_a_busy_one_that_retires_has_the_time_of_its_batch_and_one_that_boots_goes_at_once(bench):
    crew = bench(count=2, boot_budget=2, boot_timeout=30.0)
    crew.reconcile(1.0)
    busy, boots = crew.roster
    crew.staff.ready(busy, 0.5, 1.5)
    crew.roster.move(busy, S.BUSY)
    crew.staff.retire(busy, RetireReason.RELOAD, 2.0)
    crew.staff.retire(boots, RetireReason.RELOAD, 2.0)
    assert crew.master.sent == [(1, m.Retire("reload")), (2, m.Retire("reload", now=True))]
    crew.master.timers.run(2.0 + LEAVE_GRACE)
    assert crew.late == [2]


# --- what a reload or a signal changes ---


def test_after_a_reload_the_canary_is_the_first_of_the_new_and_the_others_follow_one_by_one(bench):
    crew = bench(count=2, boot_budget=1)
    for now in (1.0, 2.0):
        crew.reconcile(now)
        crew.ready(now + 0.5)
    canary = crew.staff.boot(Role.WORKER, crew.staff.settings, 3.0, canary=True)
    crew.ready(3.5)
    crew.reconcile(3.5)
    assert crew.retired() == [], "a canary replaces nobody yet"
    assert canary not in crew.staff.free(3.5)
    crew.staff.adopt(crew.staff.settings)
    crew.reconcile(4.0)
    assert len(crew.retired()) == 1
    crew.leave(4.5)
    crew.reconcile(5.0)
    crew.ready(5.5)
    crew.reconcile(5.5)
    assert sorted(crew.retired()) == [(1, "reload"), (2, "reload")]
    assert canary.life.state is S.READY


@pytest.mark.parametrize(("changes", "count"), [([1], 3), ([-1], 1), ([-1, -1, -1, 1], 2)])
def test_the_count_changes_by_signal_but_there_is_always_one(bench, changes, count):
    crew = bench(count=2, boot_budget=9)
    for change in changes:
        assert crew.staff.change_count(change)
    crew.reconcile(1.0)
    assert len(crew.roster) == count


def test_those_at_work_are_paused_and_nobody_else(bench):
    crew = bench(count=2, boot_budget=2)
    crew.reconcile(1.0, control=1)
    crew.ready(1.5)
    crew.roster.move(crew.roster.get(3), S.BUSY)
    crew.staff.pause_all()
    assert crew.master.sent == [(3, m.Pause())]


# --- when something changes by itself ---


def test_the_next_moment_is_an_age_an_idle_time_or_a_boot(bench):
    crew = bench(count=2, boot_budget=2, max_age=100.0, idle_timeout=10.0, min_idle=1)
    crew.reconcile(1.0)
    oldest = min(1.0 + each.life.max_age for each in crew.roster)
    assert crew.staff.next_at(1.0) == oldest
    crew.ready(2.0)
    assert crew.staff.next_at(2.0) == 12.0
    crew.reconcile(12.0)
    assert crew.staff.target == 1
    assert crew.staff.next_at(12.0) == oldest, "who stays may be idle"
    crew.health.boot_failed("no PHP", 13.0, started=12.0)
    assert crew.staff.next_at(13.0) == crew.health.breaker.next_boot_at


def test_without_limits_nothing_changes_by_itself(bench):
    crew = bench(count=1, max_age=0.0, idle_timeout=0.0)
    crew.reconcile(1.0)
    crew.ready(1.5)
    assert crew.staff.next_at(2.0) == inf


def test_those_with_old_code_take_no_orders_and_stay_until_their_successors_are_ready(tmp_path):
    bench = Bench(tmp_path, count=2, boot_budget=1)
    for now in (1.0, 2.0):
        bench.reconcile(now)
        bench.ready(now)
    old = bench.staff.free(3.0)
    bench.staff.bump_generation(outdated=bench.staff.generation)
    assert (len(old), bench.staff.free(3.0)) == (2, [])
    bench.reconcile(3.0)
    assert [record.life.state for record in old] == [S.READY, S.READY]
    bench.ready(4.0)
    bench.reconcile(4.0)
    assert len(bench.staff.free(4.0)) == 1
    assert [record.life.state for record in old].count(S.RETIRING) == 1


def test_code_that_only_former_generations_have_replaces_no_more_than_these(tmp_path):
    bench = Bench(tmp_path, count=1)
    bench.staff.bump_generation()
    bench.staff.bump_generation(outdated=1)
    assert (bench.staff.generation, bench.staff.oldest) == (2, 2)
    bench.staff.bump_generation()
    assert (bench.staff.generation, bench.staff.oldest) == (3, 2), "a reload makes no code old"


@pytest.mark.parametrize(
    ("status", "leaves", "pause"),
    [
        (ExitStatus(1), False, True),  # an exception: the next may end in the same way at once
        (ExitStatus(signal=9), False, False),  # somebody else's doing
        (ExitStatus(1), True, False),
    ],
)
def test_after_a_child_that_crashed_there_is_a_pause(bench, status, leaves, pause):
    crew = bench(count=1)
    crew.reconcile(0.0, control=1)
    crew.ready(1.0)
    control = crew.roster.control()
    if leaves:
        crew.staff.retire(control, RetireReason.MAX_AGE, 2.0)
    crew.staff.gone(control, status, 2.0)
    assert (crew.health.breaker.next_boot_at > 2.0) is pause
