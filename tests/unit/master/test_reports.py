"""What each report of a child changes, and which of them say that there is something to decide."""

import pytest
from support.records import working_site

from coworker.ipc import messages as m
from coworker.master.deadlines import LEAVE_GRACE
from coworker.master.ledger import Place
from coworker.master.reports import LONGEST_WAIT, LifeReports, WorkReports
from coworker.model import SYSTEM, Identity, RetireReason, Role, WorkerState
from coworker.policy.site_health import FRESH_WHILE_HELD

FINE = m.SiteState("Production", False, "6.13.3", "6.13.3", "", "")
STAGING = FINE._replace(environment="Staging")
OK, ABORT = [["ok", ["7"]]], [["abort", ["7"]]]


class World:
    """A site with `count` workers, one of which works the queue "q" (batches of two)."""

    def __init__(self, folder, count=1):
        self.master, self.site, self.worker = working_site(folder, count)
        self.control = self.master.records[0]
        self.dispatch, self.now = self.site.dispatch, 2.0

    def say(self, *reports, who=None):
        """Whether the last of these says that there is something to decide."""
        for report in reports:
            self.now += 0.1
            self.site.dirty = False
            self.site.heard(who or self.worker, report, self.now)
        return self.site.dirty

    def claimed(self, *ids, contact=None):
        return m.Claimed("2.1", "q", [[contact, None, list(ids)]], self.now, 0.05)

    @property
    def queue(self):
        return self.dispatch.queues.states["q"]

    def entry(self, item="7"):
        return self.dispatch.ledger.claims["2.1"].entries[item]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def batch(outcomes):
    return m.BatchDone("2.1", "q", 1.9, None, None, outcomes, 0.1)


CLAIMED = m.Claimed("2.1", "q", [[None, None, ["7"]]], 2.0, 0.05)
OTHERS = m.Claimed("2.1", "q", [[100, 1, ["7"]]], 2.0, 0.05)
# What was said before; the report; whether there is something to decide.
OF_WORKERS = [
    ([], m.Claiming("q", 2.0), False),
    ([m.Claiming("q", 2.0)], m.NotClaimed("q"), False),
    ([], CLAIMED, False),
    ([CLAIMED], m.RunSent("2.1", ["7"]), False),
    ([CLAIMED], m.NotBegun("2.1", ["7"]), False),
    ([CLAIMED], m.Done("2.1", OK, 0.1), False),
    ([CLAIMED], m.Done("2.1", ABORT, 0.1), True),
    ([CLAIMED], m.Ended("2.1", ["7"]), False),
    ([], batch(OK), False),
    ([], batch(ABORT), True),
    ([], m.ClaimFailed("q", "paused"), False),
    ([OTHERS], m.HandedOff("2.1", ["7"]), True),
    ([CLAIMED], m.Refused("2.1", ["7"], "wrong domain"), True),
    ([CLAIMED], m.Unanswered("2.1", ["7"], "odd"), True),
    ([], m.Bound(None, None), False),
    ([], m.Flushed(), True),
    ([], m.Idle("q", "empty"), True),
    ([], m.Spawned(4711), False),
    ([], m.Ready("6.13.3", 0.5), False),
    ([], m.BootFailed("no PHP"), True),
    ([], STAGING, False),
    ([], m.CodeMoved("/current"), True),
    ([], m.Spent("max_memory"), True),
    ([], m.Failed("died", "gone"), True),
    ([], m.Note("info", "said", {}), False),
    ([], m.Bye("shutdown", "exit status 0"), False),
]


@pytest.mark.parametrize(
    ("before", "report", "again"), OF_WORKERS, ids=lambda value: type(value).__name__ if value else ""
)
def test_what_says_that_there_is_something_to_decide(world, before, report, again):
    assert world.say(*before, report) is again


def test_the_table_has_all_of_them():
    handled = {*WorkReports(*[None] * 5).handlers(), *LifeReports(*[None] * 6).handlers()}
    assert {type(report) for _, report, _ in OF_WORKERS} == handled


# --- claims and items ---


def test_a_claim_is_known_from_when_it_is_sent_until_it_is_answered_or_was_not_sent(world):
    world.say(m.Claiming("q", 2.05))
    assert (world.worker.work.claiming, world.worker.work.claiming_at) == ("q", 2.05)
    world.say(m.NotClaimed("q"))
    assert world.worker.work.claiming is None
    world.say(m.Claiming("q", 2.2), world.claimed("7"))
    assert world.worker.work.claiming is None
    assert world.worker.work.claims == 1
    assert (world.entry().place, world.entry().begun) == (Place.AT_WORKER, True)


def test_what_a_worker_claims_is_timed_and_what_control_fetches_is_not(world):
    world.say(m.Claiming("q", 2.0))
    assert world.worker.timing.deadline == world.now + world.site.settings.workers.boot_timeout
    world.say(m.Claiming("q", 2.0), who=world.control)
    assert world.control.timing.deadline == 0.0


def test_what_control_fetched_is_handed_on_before_anything_is_decided(world):
    fetched = m.Claimed("1.1", "q", [[None, None, ["7", "8"]]], world.now, 0.05)
    assert not world.say(fetched, who=world.control)
    assert world.say(m.HandedOff("1.1", ["7", "8"]), who=world.control)
    assert world.queue.handed == 2


@pytest.mark.parametrize("report", [m.Claimed("2.1", "q", [[None, None, ["7", "8"]]], 2.0, 0.05), batch(
    [["ok", ["7", "8"]]]
)])  # fmt: skip
@pytest.mark.parametrize(("count", "again"), [(1, False), (2, True)])
def test_a_full_batch_is_something_to_decide_only_if_somebody_could_join(tmp_path, report, count, again):
    world = World(tmp_path, count)
    assert world.say(report) is again
    world.say(report._replace(claim="2.2"))
    assert world.queue.demand == (2 if again else 1), "what nobody could join in for proves nothing later"


def test_the_last_item_that_a_worker_may_run_is_something_to_decide_and_the_next_is_not(world):
    limit = world.worker.max_requests
    assert limit > 2
    world.worker.work.done = limit - 1
    assert world.say(world.claimed("7"), m.Done("2.1", OK, 0.1))
    assert world.worker.work.done == limit
    assert not world.say(batch(OK))


def test_what_ended_is_over_and_counted_once(world):
    world.say(world.claimed("7", "8"), m.Done("2.1", OK, 0.1))
    assert list(world.dispatch.ledger.claims["2.1"].entries) == ["8"]
    world.say(m.Done("2.1", OK, 0.1))
    assert world.worker.work.done == 1
    world.say(m.Ended("2.1", ["8"]))
    assert world.dispatch.ledger.claims == {}
    assert world.worker.work.done == 2


def test_outcomes_are_logged_by_how_bad_they_are_with_what_the_site_said(world):
    outcomes = [["ok", ["1"]], ["retry", ["2"]], ["delete", ["3"]], ["abort", ["4"]]]
    done = m.Done("2.1", outcomes, 2.0, {"3": {"title": "a task", "error": "no luck"}})
    world.say(world.claimed("1", "2", "3", "4"), done)
    lines = [
        (level, line["item"], line) for level, name, line in world.master.log.lines if name == "task_done"
    ]
    assert [each[:2] for each in lines] == [
        ("debug", "1"), ("notice", "2"), ("warning", "3"), ("warning", "4")
    ]  # fmt: skip
    failed = lines[2][2]
    assert (failed["queue"], failed["error"], failed["seconds"]) == ("q", "no luck", 0.5)
    assert failed["identity"] == str(SYSTEM)


def test_nothing_is_said_of_what_went_well_if_nobody_listens(world, monkeypatch):
    monkeypatch.setattr(type(world.master.log), "wants", lambda _log, level: level != "debug")
    world.say(world.claimed("1", "2"), m.Done("2.1", [["ok", ["1"]], ["delete", ["2"]]], 2.0))
    assert [line["item"] for _, name, line in world.master.log.lines if name == "task_done"] == ["2"]


def test_an_outcome_clears_what_was_counted_against_its_item(world):
    counts = world.dispatch.settler.crash_counts
    counts.count("q", "7")
    counts.count("q", "9")
    world.say(world.claimed("7"), m.Done("2.1", [["retry", ["7"]]], 0.1))
    assert counts.would_be("q", ["7", "9"], 2) == ["9"]


@pytest.mark.parametrize(
    ("outcome", "named"), [("ok", []), ("delete", []), ("retry", ["7"]), ("abort", ["7"])]
)
def test_a_row_that_an_outcome_leaves_is_not_taken_for_what_a_lost_claim_took(world, outcome, named):
    world.say(world.claimed("7"), m.Done("2.1", [[outcome, ["7"]]], 0.1))
    settler = world.dispatch.settler
    settler.lose(world.queue.info, 2.0, 3.0, "died")
    (search,) = settler.orders(1, 10.0, [], settler.due(10.0, in_haste=True))
    assert search.named == named


def test_what_is_sent_has_begun_unless_it_was_not_sent_after_all(world):
    world.say(world.claimed("7", contact=100))
    assert not world.entry().begun
    world.say(m.RunSent("2.1", ["7"]))
    assert world.entry().begun
    assert (world.worker.timing.running, world.worker.timing.running_left) == ("2.1", 1)
    world.say(m.NotBegun("2.1", ["7"]))
    assert not world.entry().begun


def test_a_worker_whose_order_is_over_is_free_and_nothing_of_it_is_timed(world):
    world.say(world.claimed("7"), m.Done("2.1", OK, 0.1), m.Idle("q", "empty"))
    work, timing = world.worker.work, world.worker.timing
    assert (work.queue, work.last_queue, timing.running, timing.deadline) == (None, "q", None, 0.0)
    assert world.worker.life.state is WorkerState.READY
    assert world.worker.life.idle_since == world.now
    assert world.queue.working == 0
    world.master.timers.run(world.now + 10_000)
    assert "overdue" not in world.master.logged


def test_one_that_was_told_to_leave_has_its_time_for_that_once_its_order_is_over(world):
    world.site.staff.retire(world.worker, RetireReason.RELOAD, world.now)
    world.say(m.Idle("q", "order"))
    assert world.worker.life.state is WorkerState.RETIRING
    world.master.timers.run(world.now + LEAVE_GRACE - 0.1)
    assert "overdue" not in world.master.logged
    world.master.timers.run(world.now + LEAVE_GRACE)
    assert "overdue" in world.master.logged


# --- itself and its pipe ---


def booting(world):
    """Another child, that boots with the settings in force."""
    return world.site.staff.boot(Role.WORKER, world.site.settings, world.now)


def test_who_says_hello_is_ready_and_the_site_is_up_again(world):
    for begun in (2.1, 2.2, 2.3):
        world.site.health.boot_failed("no PHP", begun, started=begun)
    assert world.site.health.is_down
    newcomer = booting(world)
    assert world.say(m.Ready("6.13.3", 0.7, domain=3), who=newcomer)
    assert newcomer.life.state is WorkerState.READY
    assert not world.site.health.is_down
    assert newcomer.life.domain == world.site.roster.home_domain == 3
    assert world.site.staff.boot_seconds == 0.7


def test_the_pipe_of_another_domain_says_nothing_of_the_home_domain(world):
    newcomer = world.site.staff.boot(Role.WORKER, world.site.settings, world.now, boot_domain=2)
    world.say(m.Ready("6.13.3", 0.7, domain=2), who=newcomer)
    assert newcomer.life.domain == 2
    assert world.site.roster.home_domain != 2


def test_control_says_whether_rows_can_be_looked_at_and_given_back(world):
    control = world.site.staff.boot(Role.CONTROL, world.site.settings, world.now)
    world.say(m.Ready("6.3.0", 0.7, gives_back=False), who=control)
    assert not world.site.roster.gives_back


def test_a_canary_that_is_ready_proves_nothing_of_the_settings_in_force(world):
    heard = []
    world.site.staff.on_canary = lambda record, error: heard.append((record.id, error))
    world.site.health.boot_failed("no PHP", 2.1, started=2.1)
    first, second = (
        world.site.staff.boot(Role.WORKER, world.site.settings, world.now, canary=True) for _ in range(2)
    )
    world.say(m.Ready("6.13.3", 0.7), who=first)
    world.say(m.BootFailed("wrong path"), who=second)
    assert heard == [(first.id, None), (second.id, "wrong path")]
    assert world.site.health.breaker.failures == 1


def test_who_was_told_to_leave_while_it_booted_stays_on_its_way_out(world):
    newcomer = booting(world)
    world.site.staff.retire(newcomer, RetireReason.SURPLUS, world.now)
    assert not world.say(m.Ready("6.13.3", 0.7), who=newcomer)
    assert newcomer.life.state is WorkerState.RETIRING
    world.say(m.BootFailed("cut off"), who=newcomer)
    assert world.site.health.breaker.failures == 0


@pytest.mark.parametrize(("asked", "waited"), [(0.0, 0.5), (30.0, 30.0), (3600.0, LONGEST_WAIT)])
def test_a_boot_that_fails_is_tried_again_when_the_site_wants_it_but_not_in_an_hour(world, asked, waited):
    newcomer = booting(world)
    assert world.say(m.BootFailed("busy", asked), who=newcomer)
    assert newcomer.life.state is WorkerState.RETIRING
    wait = world.site.health.breaker.next_boot_at - world.now
    assert 0.7 * waited <= wait <= waited + 1e-6


def test_a_site_that_is_held_pauses_those_at_work_once_and_has_control_replaced_sooner(world):
    assert world.say(STAGING, who=world.control)
    assert world.master.sent.count((world.worker.id, m.Pause())) == 1
    world.say(STAGING._replace(digest="x"), who=world.control)
    assert world.master.sent.count((world.worker.id, m.Pause())) == 1
    world.say(FINE._replace(maintenance=True), who=world.control)
    assert world.control.life.max_age == FRESH_WHILE_HELD


def test_a_newer_database_replaces_all_who_booted_before(world):
    before = world.site.staff.generation
    world.say(FINE._replace(database="6.14.0"), who=world.control)
    assert world.site.staff.generation == before + 1


def test_who_has_old_code_gets_no_order_and_the_first_of_the_new_one_does(world):
    world.say(m.CodeMoved("/current"), m.Idle("q", "moved"))
    world.site.decide(world.now)
    assert world.worker.work.queue is None
    *_, newcomer = [r for r in world.master.records if r.role is Role.WORKER]
    assert newcomer is not world.worker, "its successor boots"
    world.say(m.Ready("6.13.3", 0.5), who=newcomer)
    world.site.decide(world.now)
    assert newcomer.work.queue == "q"


def test_the_same_news_from_another_who_has_old_code_replaces_nobody_again(world):
    world.say(m.CodeMoved("/current"))
    generation = world.site.staff.generation
    assert not world.say(m.CodeMoved("/current"), who=world.control)
    assert world.site.staff.generation == generation
    assert world.master.logged.count("renewing") == 1


def test_what_an_old_control_sees_of_the_code_is_no_measure_for_the_new_release(world):
    world.say(FINE._replace(digest="one"), who=world.control)
    world.say(m.CodeMoved("/current"), FINE._replace(digest="mixed"), who=world.control)
    assert not world.site.health.held
    world.site.decide(world.now)
    *_, newcomer = [r for r in world.master.records if r.role is Role.CONTROL]
    world.say(m.Ready("6.13.3", 0.5), FINE._replace(digest="two"), who=newcomer)
    assert not world.site.health.held


def test_code_that_changes_pauses_those_at_work(world):
    world.say(FINE._replace(digest="one"), who=world.control)
    world.say(FINE._replace(digest="two"), who=world.control)
    assert world.master.sent.count((world.worker.id, m.Pause())) == 1
    assert not world.site.may_claim


def test_what_a_control_on_its_way_out_saw_is_no_news(world):
    world.site.roster.move(world.control, WorkerState.RETIRING, RetireReason.MAX_AGE)
    assert not world.say(STAGING, who=world.control)
    assert not world.site.health.held


def test_a_pipe_that_holds_much_is_replaced_and_works_meanwhile(world):
    world.say(m.Spent("max_memory"))
    assert world.worker.life.expired is RetireReason.MAX_MEMORY
    assert world.worker.life.state is WorkerState.BUSY


def test_a_child_whose_pipe_is_lost_leaves_with_its_reason(world):
    world.say(m.Failed("database", "gone away"))
    life = world.worker.life
    assert (life.state, life.retire_reason, life.last_words) == (
        WorkerState.RETIRING, RetireReason.DATABASE, "gone away"
    )  # fmt: skip
    (line,) = [line for _, name, line in world.master.log.lines if name == "pipe_lost"]
    assert (line["queue"], line["cause"]) == ("q", "database")
    world.master.timers.run(world.now + LEAVE_GRACE)
    assert "overdue" in world.master.logged


def test_why_it_was_told_to_leave_stays_the_reason_when_its_pipe_is_lost_then(world):
    world.site.staff.retire(world.worker, RetireReason.RELOAD, world.now)
    world.say(m.Failed("died", "gone"))
    assert world.worker.life.retire_reason is RetireReason.RELOAD
    assert world.worker.life.last_words == "gone"


@pytest.mark.parametrize(("looks", "failures"), [(0, 1), (1, 0)])
def test_a_control_that_boots_and_is_of_no_use_is_a_failed_boot(world, looks, failures):
    world.control.work.done = looks
    world.say(m.Failed("died", "gone"), who=world.control)
    assert world.site.health.breaker.failures == failures


def test_a_worker_that_loses_its_pipe_says_nothing_of_the_site(world):
    world.say(m.Failed("died", "gone"))
    assert world.site.health.breaker.failures == 0


def test_who_takes_leave_unasked_is_on_its_way_out_and_has_said_all(world):
    world.say(m.Bye("shutdown", "exit status 0"))
    life = world.worker.life
    assert (life.state, life.retire_reason, life.said_bye) == (
        WorkerState.RETIRING, RetireReason.SHUTDOWN, True
    )  # fmt: skip


def test_whom_it_serves_is_known_and_its_pipes_group_and_what_it_notes(world):
    world.say(m.Bound(100, 1), m.Spawned(4711), m.Note("notice", "task_printed", {"text": "hi"}))
    assert world.worker.work.identity == Identity(100, 1)
    assert world.worker.life.pipe_group == 4711
    level, name, line = world.master.log.lines[-1]
    assert (level, name, line["text"], line["worker"]) == ("notice", "task_printed", "hi", 1)
